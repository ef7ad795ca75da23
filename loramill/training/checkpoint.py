"""Checkpoints: everything a training needs to continue, in one folder without pickle, there whole or not at all."""

from pathlib import Path

from safetensors.torch import load_file, save_file

from loramill.errors import TrainingError
from loramill.reports import digest_of_file, read_json, restore_folder, write_folder, write_json
from loramill.training.student import Student

TENSORS, FACTS = "tensors.safetensors", "progress.json"


def paused_place(folder: Path, name: str) -> Path:
    """Return where a member that pauses is kept, beside the checkpoint of those that train."""
    return folder.with_name(f"{folder.name}-{name}")


def save_checkpoint(folder: Path, students: list[Student]) -> None:
    """Replace the checkpoint in ``folder`` by the present state of all students."""

    def fill(place: Path) -> None:
        tensors = {f"{student.name}/{key}": value for student in students for key, value in student.tensors().items()}
        save_file(tensors, str(place / TENSORS))
        facts = {student.name: {"key": student.course.key, "progress": student.facts()} for student in students}
        write_json(place / FACTS, {"sha256": digest_of_file(place / TENSORS), "students": facts})

    write_folder(folder, fill)


def restore_checkpoint(folder: Path, students: list[Student]) -> set[str]:
    """Bring those ``students`` to where the checkpoint left them that it knows with exactly these courses; return their names.

    Members are independent of each other, so each is continued or begins anew on its own; one that was further than its course
    goes now begins anew.

    Raises:
        TrainingError: the checkpoint is damaged.
    """
    if not restore_folder(folder):
        return set()
    try:
        facts = read_json(folder / FACTS)
        known = {name: student["progress"] for name, student in facts["students"].items()}
        keys = {name: student["key"] for name, student in facts["students"].items()}
        same = [student for student in students if keys.get(student.name) == student.course.key]
        continued = [student for student in same if student.course.reaches(known[student.name]["step"])]
        if continued and digest_of_file(folder / TENSORS) != facts["sha256"]:
            raise ValueError("its checksum is wrong")
        tensors = load_file(str(folder / TENSORS)) if continued else {}
        for student in continued:
            prefix = f"{student.name}/"
            own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
            student.restore(known[student.name], own)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrainingError(
            f"checkpoint {str(folder)!r} is damaged ({error}); delete that folder to train from the beginning"
        ) from error
    return {student.name for student in continued}
