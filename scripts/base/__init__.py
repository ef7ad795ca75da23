"""How the embedded base is made: sources to text, text to tokens, tokens to a Llama model, and the card that says so."""
