"""Options, fixtures and the closing summary of the benchmark suite.

`--profile full` (the default) writes bench/results/<machine>.{json,md} and plots; other profiles
write the same files to .benchmarks/<profile>, which is not committed. The ratios of DESIGN.md
section 8 are measured first and printed last.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:  # `pytest bench`, unlike `python -m pytest bench`, leaves it out
    sys.path.insert(0, str(ROOT))

from bench import report, tables, terms  # noqa: E402
from bench.measure import Measure, clock  # noqa: E402
from bench.profiles import PROFILES, Profile  # noqa: E402
from bench.results import Results  # noqa: E402

# The ratios come first, while the machine is as calm as it was found.
ORDER = ("ratios", "busy", "paper_table", "peers", "engines", "scaling", "files", "kernels")
PROFILE = pytest.StashKey[Profile]()
RESULTS = pytest.StashKey[Results]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("veilsum benchmarks")
    group.addoption(
        "--profile",
        choices=sorted(PROFILES),
        default="full",
        help="how much to measure (default: full; only full results go to bench/results)",
    )
    group.addoption(
        "--results",
        type=Path,
        default=None,
        metavar="DIR",
        help="where results go (default: bench/results, or .benchmarks/PROFILE)",
    )
    group.addoption(
        "--enforce",
        action="store_true",
        help="fail when a ratio misses its 'must' on the avx512 level",
    )


def pytest_configure(config: pytest.Config) -> None:
    profile = PROFILES[config.getoption("--profile")]
    config.stash[PROFILE] = profile
    config.stash[RESULTS] = Results(terms.machine_slug(terms.collect(profile.name)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = [item for item in items if item.path.is_relative_to(Path(__file__).parent)]
    if here != items:  # collected together with other tests: leave their order alone
        return
    items.sort(key=lambda item: ORDER.index(_section_name(item)))
    for item in items:
        group = _section_name(item)
        item.add_marker(pytest.mark.benchmark(group=group, timer=clock, warmup=False))


def _section_name(item: pytest.Item) -> str:
    return item.path.stem.removeprefix("test_")


@pytest.fixture(scope="session")
def profile(request: pytest.FixtureRequest) -> Profile:
    """How much to measure."""
    return request.config.stash[PROFILE]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give `cases` of a test module its parameters: a function of the profile."""
    make = getattr(metafunc.module, f"cases_of_{metafunc.function.__name__}", None)
    if make is not None:
        names, values = make(metafunc.config.stash[PROFILE])
        metafunc.parametrize(names, values)


@pytest.fixture
def measure(request: pytest.FixtureRequest, benchmark: Any, profile: Profile) -> Measure:
    """What times the test's case and files it in the section of the test's file."""
    results = request.config.stash[RESULTS]
    name = _section_name(request.node)
    section = results.sections.get(name) or results.section(name, terms.collect(profile.name))
    return Measure(benchmark, section, profile)


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    results = config.stash[RESULTS]
    measured = any(section.rows or section.ratios for section in results.sections.values())
    if not measured or config.getoption("collectonly"):
        return
    profile = config.stash[PROFILE]
    folder = config.getoption("--results")
    if folder is None:
        full = profile.name == "full"
        folder = ROOT / "bench" / "results" if full else ROOT / ".benchmarks" / profile.name
    report.write(results, folder, keep_other_sections=profile.name == "full")
    missed = [ratio for ratio in tables.all_ratios(results) if ratio.met is False]
    on_avx512 = all(section.terms["isa"] == "avx512" for section in results.sections.values())
    if config.getoption("--enforce") and missed and on_avx512 and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    results = config.stash[RESULTS]
    for line in tables.summary(results):
        terminalreporter.write_line(line)
