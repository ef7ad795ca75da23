"""From sources to token ids in one folder, once: everything that the training reads."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from loramill.reports import write_folder, write_json
from scripts.base.recipe import Recipe
from scripts.base.sources import Document


def prepare(sources: Path, data: Path, folder: Path, recipe: Recipe, say: Callable[[str], None]) -> Path:
    """Leave tokenizer, token ids of both parts, held-out texts and figures in ``folder``; return it.

    Args:
        sources: one folder per source.
        data: one folder per domain; their rows are kept out.
        folder: where to; a folder that is there already is taken as it is.
        recipe: the numbers.
        say: told what is being done.
    """
    if (folder / "figures.json").is_file():
        return folder
    from scripts.base.screen import domain_texts, index, is_held_out, nearest, screen
    from scripts.base.sources import read_sources
    from scripts.base.tokens import reading, save_shelf, shelve, talking, train_tokenizer

    say("reading the sources")
    documents = read_sources(sources)
    say(f"{len(documents)} documents; keeping out what is like a domain's row")
    known = index(domain_texts(data))
    kept, figures = screen(documents, known)
    train = [document for document in kept if not is_held_out(document)]
    held = [document for document in kept if is_held_out(document)]
    say(f"{len(train)} documents to learn, {len(held)} held out; training the tokenizer")
    tokenizer = train_tokenizer(train, recipe)
    shelves = {
        "reading": shelve(reading(train, tokenizer), tokenizer),
        "talking": shelve(talking(train, tokenizer), tokenizer),
    }
    sizes = {name: {"documents": len(shelf.ends), "tokens": len(shelf.ids)} for name, shelf in shelves.items()}
    say(f"{sizes}")

    near = nearest(kept, known)

    def fill(place: Path) -> None:
        tokenizer.save_pretrained(place / "tokenizer")
        for name, shelf in shelves.items():
            save_shelf(shelf, place / f"{name}.npz")
        write_json(place / "held-out.json", _texts_by_source(held))
        write_json(
            place / "figures.json", {"sources": figures, "nearest": near, "shelves": sizes, "held_out": len(held)}
        )

    return write_folder(folder, fill)


def _texts_by_source(documents: Sequence[Document]) -> dict[str, list[str]]:
    """Return held-out texts as plain text: no format helps a model here, only the language."""
    texts: defaultdict[str, list[str]] = defaultdict(list)
    for document in documents:
        texts[document.source].append("\n".join(document.texts))
    return dict(texts)
