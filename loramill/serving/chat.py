"""Talk to adapters in the terminal: several turns, base and adapter side by side, another domain in under a second."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from loramill.config import domain_file, load_plan
from loramill.errors import AdapterError, LoramillError
from loramill.records import Message
from loramill.tracking import find

if TYPE_CHECKING:
    from loramill.pack.members import Pack

HELP: Final = "/use DOMAIN  another adapter    /new  forget the conversation    /bye  end"


@dataclass
class Talk:
    """A conversation with one adapter at a time on one base."""

    pack: "Pack"
    domain: str = ""
    messages: list[Message] = field(default_factory=list)
    loaded: dict[str, str] = field(default_factory=dict)
    """Digest of each domain's champion that hangs on the base."""

    def use(self, domain: str) -> str:
        """Take a domain's champion, loading it only when another one has taken its place; return its digest.

        Raises:
            ConfigError: no such domain.
            AdapterError: it has no champion yet, or stands on another base.
        """
        digest = self._loaded(domain)
        self.domain = domain
        self.messages.clear()
        return digest

    def ask(self, question: str, max_new_tokens: int, on_text: Callable[[str], None]) -> str:
        """Answer with the adapter, in view of the turns before."""
        from loramill.pack.speak import answer

        asked = Message("user", question)
        text = answer(self.pack, self.domain, [*self.messages, asked], max_new_tokens, on_text)
        self.messages += [asked, Message("assistant", text)]
        return text

    def ask_base(self, max_new_tokens: int, on_text: Callable[[str], None]) -> str:
        """Let the bare base answer the question that `ask` answered last."""
        from loramill.pack.speak import answer

        return answer(self.pack, None, self.messages[:-1], max_new_tokens, on_text)

    def _loaded(self, domain: str) -> str:
        version = find(domain, "champion") if domain_file(domain) else None
        if version is None:
            raise AdapterError(
                f"{domain!r} has no champion yet: `loramill run {domain}` makes one if the test rows prove it"
            )
        if self.loaded.get(domain) != version.digest:
            if domain in self.pack.names:
                self.pack.remove(domain)
            self.pack.load(domain, version.folder)
            self.loaded[domain] = version.digest
        return version.digest


def chat(domain: str, *, compare: bool, max_new_tokens: int) -> None:
    """Hold a conversation in the terminal until /bye or the end of input.

    Raises:
        AdapterError: the domain has no champion.
    """
    talk = _open(domain)
    print(f"{domain} (adapter {talk.use(domain)[:12]}). {HELP}")
    while True:
        try:
            said = input(f"\n{talk.domain}> ").strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return
        if said == "/bye":
            return
        if said:
            _turn(talk, said, compare=compare, max_new_tokens=max_new_tokens)


def _turn(talk: Talk, said: str, *, compare: bool, max_new_tokens: int) -> None:
    if said == "/new":
        talk.messages.clear()
        _show("(forgotten)\n")
    elif said.startswith("/use "):
        try:
            _show(f"({talk.use(said.removeprefix('/use ').strip())[:12]})\n")
        except LoramillError as error:
            _show(f"error: {error}\n")
    elif said.startswith("/"):
        _show(f"{HELP}\n")
    else:
        _show(f"[{talk.domain}] ")
        talk.ask(said, max_new_tokens, _show)
        if compare:
            _show("\n[base] ")
            talk.ask_base(max_new_tokens, _show)
        _show("\n")


def _show(text: str) -> None:
    print(text, end="", flush=True)


def _open(domain: str) -> Talk:
    from loramill.pack.base import load_base
    from loramill.pack.members import Pack

    base = load_plan(domain_file(domain), Path("conf")).base
    return Talk(Pack(load_base(base, base.cache)))
