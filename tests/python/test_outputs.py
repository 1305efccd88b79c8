"""Where outputs go: links, modes, devices and pipes, outputs over inputs and over what is kept."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import numpy as np
import pytest

import veilsum as vs
from veilsum.api.large_files import journal_path
from veilsum.cli import main
from veilsum.layout import files
from veilsum.outputs import find_destination, open_input

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes such files")


def atomic(path: Path) -> None:
    with files.atomic_file(path) as file:
        file.write(b"new")


def filled(path: Path) -> None:
    with files.npy_output(path, (3,), "float32") as values:
        values[:] = 1


#: Each writer of the package, in Python and in C++, for what is public and what is secret.
PUBLIC = {
    "atomic_file": atomic,
    "npy_output": filled,
    "write_update": lambda path: files.write_update(path, np.zeros(3, np.float32)),
    "Plan.save": lambda path: vs.Plan(2).save(path),
    "PublicKey.save": lambda path: vs.keygen(vs.Plan(2))[1].save(path),
}
SECRET = {
    "write_secret": lambda path: files.write_secret(path, b"new", overwrite=True),
    "Identity.save": lambda path: vs.Identity.generate().save(path, overwrite=True),
    "SecretKey.save": lambda path: vs.keygen(vs.Plan(2))[0].save(path),
}
WRITERS = PUBLIC | SECRET


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Relative links in a folder, and a file elsewhere that they lead to."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "second.npy").symlink_to("thing.npy")
    (tmp_path / "first.npy").symlink_to("elsewhere/second.npy")
    return tmp_path


@pytest.fixture(params=[0o022, 0o077], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("writer", WRITERS)
def test_a_link_is_followed_and_stays(place, writer):
    target = place / "elsewhere" / "thing.npy"
    target.write_bytes(b"old")
    WRITERS[writer](place / "first.npy")
    assert (place / "first.npy").is_symlink()
    assert (place / "elsewhere" / "second.npy").is_symlink()
    assert not target.is_symlink()
    assert target.read_bytes() != b"old"
    names = {path.name for path in place.rglob("*") if not path.name.startswith("thing.npy.opened")}
    assert names <= {"elsewhere", "first.npy", "second.npy", "thing.npy"}


@pytest.mark.parametrize("writer", WRITERS)
def test_a_dangling_link_makes_the_file(place, writer):
    WRITERS[writer](place / "first.npy")
    assert (place / "elsewhere" / "thing.npy").is_file()
    assert (place / "first.npy").is_symlink()


@pytest.mark.parametrize("writer", PUBLIC)
@pytest.mark.parametrize("before", [0o640, 0o600, 0o666, 0o664])
def test_a_replaced_file_keeps_its_mode(tmp_path, umask, writer, before):
    path = tmp_path / "thing.npy"
    PUBLIC[writer](path)
    assert mode(path) == 0o666 & ~umask
    path.chmod(before)
    PUBLIC[writer](path)
    assert mode(path) == before


@pytest.mark.parametrize("writer", SECRET)
def test_a_secret_is_private_whatever_it_replaces(tmp_path, umask, writer):
    path = tmp_path / "thing.npy"
    path.write_bytes(b"old")
    path.chmod(0o666)
    SECRET[writer](path)
    assert mode(path) == 0o600


@ROOT_ONLY
def test_owner_and_group_are_kept_but_never_of_a_secret(tmp_path):
    path = tmp_path / "thing.npy"
    for name, write in WRITERS.items():
        path.write_bytes(b"old")
        os.chown(path, 12345, 23456)
        write(path)
        found = path.stat()
        kept = (found.st_uid, found.st_gid) == (12345, 23456)
        assert kept == (name in PUBLIC), name
        path.unlink()


@ROOT_ONLY
def test_a_group_that_cannot_be_kept_passes_its_rights_to_nobody(tmp_path):
    path = tmp_path / "thing.npy"
    path.write_bytes(b"old")
    os.chown(path, 999, 23456)
    os.chown(tmp_path, 999, 999)
    # Every folder that pytest made above it, one more where tests run side by side.
    for parent in tmp_path.parents[:3]:
        if parent.stat().st_uid == os.getuid() and parent.name.startswith(("pytest-", "popen-")):
            parent.chmod(0o755)
    path.chmod(0o664)
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(999)
            os.setuid(999)
            os.chdir(tmp_path)
            atomic(Path("thing.npy"))
            os._exit(0)
        except BaseException:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert path.read_bytes() == b"new"
    assert path.stat().st_gid == 999
    assert mode(path) == 0o644


def specials(folder: Path) -> list[Path]:
    """A pipe, a link to it, a socket's place, and a device node where the machine lets us."""
    pipe = folder / "pipe.npy"
    os.mkfifo(pipe)
    link = folder / "link.npy"
    link.symlink_to("pipe.npy")
    made = [pipe, link]
    node = folder / "node.npy"
    try:
        os.mknod(node, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    except PermissionError:
        return made
    return [*made, node]


@pytest.mark.parametrize("writer", WRITERS)
def test_devices_and_pipes_are_refused_and_stay(tmp_path, writer):
    paths = specials(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    for path in paths:
        with pytest.raises(vs.ParameterError, match=r"is a device, a pipe or a socket") as caught:
            WRITERS[writer](path)
        assert str(path) in str(caught.value)
        assert not path.is_file()
        assert not stat.S_ISREG(path.stat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_what_is_refused_before_any_work(tmp_path):
    for path in specials(tmp_path):
        for check in (files.check_writable, lambda path: files.check_output(path, [])):
            with pytest.raises(vs.ParameterError, match="a device, a pipe or a socket"):
                check(path)
    with pytest.raises(vs.ParameterError, match="/dev/null is a device"):
        files.check_output("/dev/null", [])


def test_a_pipe_that_comes_meanwhile_is_not_replaced(tmp_path):
    path = tmp_path / "thing.npy"
    with pytest.raises(vs.ParameterError, match="a pipe"), files.atomic_file(path) as file:
        file.write(b"new")
        os.mkfifo(path)
    assert stat.S_ISFIFO(path.stat().st_mode)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thing.npy"]


def test_a_folder_and_a_circle_of_links(tmp_path):
    (tmp_path / "b.npy").symlink_to("a.npy")
    (tmp_path / "a.npy").symlink_to("b.npy")
    for writer in WRITERS.values():
        with pytest.raises(OSError, match="symbolic links") as caught:
            writer(tmp_path / "a.npy")
        assert caught.value.errno == errno.ELOOP
    with pytest.raises(IsADirectoryError, match="Is a directory; give the name of a file"):
        find_destination(tmp_path)


@ROOT_ONLY
def test_a_link_of_another_user_in_a_folder_for_all(tmp_path):
    tmp_path.chmod(0o1777)
    (tmp_path / "victim").write_bytes(b"untouched")
    (tmp_path / "link.npy").symlink_to("victim")
    os.lchown(tmp_path / "link.npy", 12345, 12345)
    for write in WRITERS.values():
        with pytest.raises(vs.ParameterError, match="a link that another user made"):
            write(tmp_path / "link.npy")
    assert (tmp_path / "victim").read_bytes() == b"untouched"


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_links_of_open_descriptors(tmp_path):
    read, write = os.pipe()
    with pytest.raises(vs.ParameterError, match="a pipe"):
        find_destination(f"/proc/self/fd/{write}")
    os.close(read)
    os.close(write)
    with (tmp_path / "thing").open("w+b") as file:
        link = f"/proc/self/fd/{file.fileno()}"
        assert find_destination(link).path == tmp_path / "thing"
        (tmp_path / "thing").unlink()
        with pytest.raises(OSError, match="no name any more"):
            find_destination(link)


def test_inputs_that_are_no_files_are_not_waited_for(tmp_path):
    for path in specials(tmp_path):
        for read in (files.read_update, vs.Plan.load, vs.Identity.load, open_input):
            with pytest.raises(vs.ParameterError, match="is not a regular file"):
                read(path)
    for read in (files.read_update, vs.Plan.load, vs.Identity.load, open_input):
        with pytest.raises(IsADirectoryError, match="Is a directory; give"):
            read(tmp_path)


# --- from file to file ---------------------------------------------------------------------------


@pytest.fixture
def steps(place):
    """What each step of one sum on files writes, as a function of the output's name."""
    np.save("update.npy", np.linspace(-1, 1, 50, dtype=np.float32))
    plan = vs.Plan(2)
    secret, public = vs.keygen(plan)
    rnd = vs.Round(plan, public, size=50)
    for name in ("a.up", "b.up"):
        vs.encrypt_file(rnd, "update.npy", name)
    total = vs.sum_files(rnd, ["a.up", "b.up"], "total.vs")
    key = vs.open_sum(secret, rnd, total)
    return {
        "encrypt": lambda out, **more: vs.encrypt_file(rnd, "update.npy", out, **more),
        "sum": lambda out, **more: vs.sum_files(rnd, ["a.up", "b.up"], out, **more),
        "decrypt": lambda out, **more: vs.decrypt_file(key, total, out, **more),
    }


@pytest.mark.parametrize("resume", [False, True])
@pytest.mark.parametrize("step", ["encrypt", "sum", "decrypt"])
def test_large_outputs_follow_links_and_keep_modes(place, steps, step, resume):
    target = place / "elsewhere" / "thing.npy"
    target.write_bytes(b"old")
    target.chmod(0o640)
    steps[step]("first.npy", resume=resume)
    assert Path("first.npy").is_symlink()
    assert target.stat().st_size > 100
    assert mode(target) == 0o640
    names = {path.name for path in place.rglob("*")}
    assert not [name for name in names if name.endswith((".part", ".journal", ".tmp"))]


@pytest.mark.parametrize("step", ["encrypt", "sum", "decrypt"])
def test_the_journal_stands_beside_the_file_that_a_link_leads_to(place, steps, step):
    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        steps[step]("first.npy", resume=True, progress=stop)
    journal = place / "elsewhere" / "thing.npy.journal"
    assert journal.is_file()
    assert journal_path("first.npy") == Path("elsewhere/thing.npy.journal")
    with pytest.raises(vs.ParameterError, match="left of a run that was interrupted"):
        steps[step]("first.npy")
    steps[step]("first.npy", resume=True)
    assert not journal.exists()
    assert (place / "elsewhere" / "thing.npy").is_file()


@pytest.mark.parametrize("step", ["encrypt", "sum", "decrypt"])
def test_large_outputs_refuse_devices_and_pipes(place, steps, step):
    for path in specials(place):
        for resume in (False, True):
            with pytest.raises(vs.ParameterError, match="a device, a pipe or a socket"):
                steps[step](path, resume=resume)
        assert not stat.S_ISREG(path.stat().st_mode)


# --- over inputs, and over what cannot be made again ---------------------------------------------


def refused(words, *texts):
    """Run a command that must refuse its output; returns what it said."""
    before = {path: path.read_bytes() for path in Path().iterdir() if path.is_file()}
    assert main([str(word) for word in words]) == 3
    assert {path: path.read_bytes() for path in Path().iterdir() if path.is_file()} == before


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("update.npy", np.zeros(5, np.float32))
    for words in (
        "plan --clients 2 --out plan.vs",
        "keygen --plan plan.vs --out authority",
        "round --plan plan.vs --public authority.pub --size 5 --out round.vs",
        "encrypt round.vs update.npy --out a.up",
        "encrypt round.vs update.npy --out b.up",
        "sum round.vs a.up b.up --out total.vs",
        "open --key authority.key round.vs total.vs --out sum.key",
    ):
        assert main(words.split()) == 0
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        "plan --clients 2 --out authority.key",
        "plan --clients 2 --out authority.key.opened",
        "round --plan plan.vs --public authority.pub --size 5 --out authority.key.opened --force",
        "round --plan plan.vs --public authority.pub --size 5 --out plan.vs --force",
        "encrypt round.vs update.npy --out round.vs",
        "encrypt round.vs update.npy --out authority.key.opened",
        "sum round.vs a.up b.up --out b.up",
        "open --key authority.key round.vs total.vs --out authority.key.opened --force",
        "decrypt sum.key round.vs total.vs --out total.vs",
        "decrypt sum.key round.vs total.vs --out sum.key",
    ],
)
def test_outputs_never_replace_inputs_keys_or_ledgers(study, words, capsys):
    refused(words.split())
    assert "give the output another name" in capsys.readouterr().err


def test_an_output_is_an_input_through_links_too(study, capsys):
    Path("alias.up").symlink_to("a.up")
    os.link("b.up", "hard.up")
    for out in ("alias.up", "hard.up"):
        refused(["sum", "round.vs", "a.up", "b.up", "--out", out])
        assert "is also an input" in capsys.readouterr().err


def test_an_input_in_the_place_of_a_journal_is_not_called_one(study, capsys):
    np.save("journal.npy", np.zeros(5, np.float32))
    Path("journal.npy").rename("x.journal")
    Path("link.npy").symlink_to("x.journal")
    refused(["encrypt", "round.vs", "link.npy", "--out", "x", "--resume"])
    assert "is also an input" in capsys.readouterr().err


def test_a_journal_is_not_overwritten(study, capsys):
    Path("x.journal").write_bytes(b"VSJRNL2\n" + bytes(100))
    refused(["sum", "round.vs", "a.up", "b.up", "--out", "x.journal"])
    assert "journal of a run that is not finished" in capsys.readouterr().err


def test_a_key_pair_does_not_replace_its_plan(study, capsys):
    Path("plan.vs").rename("new.pub")
    refused(["keygen", "--plan", "new.pub", "--out", "new", "--force"])
    assert "is also an input" in capsys.readouterr().err
