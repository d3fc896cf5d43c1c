"""The local stack with real servers and real processes, on directories and ports of its own."""

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import redis

from config.localstack.errors import StackError
from config.localstack.ports import free_port, is_free
from config.localstack.processes import wait_until
from config.localstack.stack import PROFILES, ROOT, Stack, environment
from config.localstack.supervisor import Supervisor

STACK_VARIABLES = (
    "DATABASE_URL",
    "DIRECT_DATABASE_URL",
    "MIGRATE_DATABASE_URL",
    "REDIS_URL",
    "DRAMATIQ_BROKER_URL",
    "SECRET_KEY",
    "PROMETHEUS_MULTIPROC_DIR",
)

# Python 3.12 warns of every fork beside threads; what runs between fork and exec here takes no lock.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture(scope="module", autouse=True)
def _bare_environment():
    with pytest.MonkeyPatch.context() as patch:
        for name in STACK_VARIABLES:
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def cluster(_bare_environment, tmp_path_factory):
    """A stack's directory with servers that have run once: to copy it takes a tenth of what it takes to make it."""
    directory = tmp_path_factory.mktemp("cluster")
    with running(directory):
        return directory


@pytest.fixture
def made(cluster, tmp_path):
    """The directory of a stack that has run before."""
    subprocess.run(["cp", "-a", f"{cluster}/.", tmp_path], check=True)
    return tmp_path


@contextmanager
def running(directory: Path, profile: str = "test"):
    stack = Stack(directory, PROFILES[profile])
    stack.claim("test")
    with as_it_was_for_signals(), stack.running():
        yield stack


@contextmanager
def as_it_was_for_signals():
    """A stack that stops takes no more signals; the test run does."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def url(stack: Stack, name: str) -> str:
    return environment(stack.directory, "test", {})[name]


def port_of(url: str) -> int:
    return urlsplit(url).port or 0


def one(database_url: str, query: str):
    with psycopg.connect(database_url) as connection:
        return connection.execute(query).fetchone()


def cache_of(stack: Stack) -> redis.Redis:
    return redis.Redis.from_url(url(stack, "REDIS_URL"))


def living_in(directory: Path) -> list[str]:
    """Return the command lines of the processes that work in the directory; Linux."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink().is_relative_to(directory):
                found.append((process / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue  # gone meanwhile, somebody else's, or a zombie
    return found


def start_until_it_says_started(script: str, *arguments: str | Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", script, *arguments], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdout.readline() == b"started\n"
    return process


SUPERVISE = """
import sys, signal
from pathlib import Path
from config.localstack.stack import PROFILES, Stack
stack = Stack(Path(sys.argv[1]), PROFILES["test"])
stack.claim("test")
stack.start()
print("started", flush=True)
signal.pause()
"""
# A kernel that does not tell children of their parent's death, as on macOS.
WITHOUT_DEATH_SIGNAL = "from config.localstack import identity; identity._PR_SET_PDEATHSIG = 0\n"


def test_both_servers_come_back_with_their_data_after_kill_9(made):
    with running(made, "up") as stack:
        with psycopg.connect(url(stack, "MIGRATE_DATABASE_URL")) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
        with cache_of(stack) as cache:
            cache.set("kept", "7")
        for server in stack.servers:
            os.kill(server.process.pid, signal.SIGKILL)

    with running(made, "up") as stack:
        assert one(url(stack, "MIGRATE_DATABASE_URL"), "SELECT number FROM kept") == (7,)
        with cache_of(stack) as cache:
            assert cache.get("kept") == b"7"


def test_a_pid_file_that_names_a_living_stranger_does_not_keep_postgres_from_starting(made):
    stranger = start_until_it_says_started("import time; print('started', flush=True); time.sleep(600)")
    with running(made) as stack:
        postgres = stack.servers[0].process
        pid_file = next(made.glob("postgresql-*")) / "postmaster.pid"
        postgres.kill()
        postgres.wait()
        pid_file.write_text(pid_file.read_text().replace(str(postgres.pid), str(stranger.pid), 1))

    with running(made) as stack:
        assert one(url(stack, "DATABASE_URL"), "SELECT 1") == (1,)
        assert stranger.poll() is None
    stranger.kill()
    stranger.communicate()


def test_servers_that_outlive_their_killed_supervisor_are_replaced(made):
    supervisor = start_until_it_says_started(WITHOUT_DEATH_SIGNAL + SUPERVISE, made)
    supervisor.kill()
    supervisor.communicate()
    orphans = {name: int((made / f"{name}.pid").read_text()) for name in ("postgres", "valkey")}
    assert not is_free(port_of(environment(made, "test", {})["DATABASE_URL"]))

    with running(made) as stack:
        assert one(url(stack, "DATABASE_URL"), "SELECT 1") == (1,)
        assert {child.name: child.process.pid for child in stack.servers}.items().isdisjoint(orphans.items())
        assert not any((Path("/proc") / str(pid) / "exe").exists() for pid in orphans.values())


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel tells children of their parent's death on Linux only")
def test_a_killed_supervisor_takes_its_servers_along(made):
    supervisor = start_until_it_says_started(SUPERVISE, made)
    assert len(living_in(made)) >= 2
    supervisor.kill()
    supervisor.communicate()

    assert wait_until(lambda: living_in(made) == [], timeout_s=20)


def test_two_checkouts_run_side_by_side_on_ports_of_their_own_also_in_a_path_with_a_space(tmp_path):
    with running(tmp_path / "one") as one_stack, running(tmp_path / "and an other") as other:
        urls = [url(stack, name) for stack in (one_stack, other) for name in ("DATABASE_URL", "REDIS_URL")]

        assert len({port_of(text) for text in urls}) == 4
        assert one(url(other, "DATABASE_URL"), "SELECT current_user::text") == ("app",)
        with cache_of(other) as cache:
            assert cache.ping()


def test_a_stack_keeps_its_ports_and_passwords(made):
    with running(made) as stack:
        before = environment(stack.directory, "web", {})

    with running(made) as stack:
        assert environment(stack.directory, "web", {}) == before


def test_a_stack_in_use_is_refused_and_says_by_whom(made):
    with running(made), pytest.raises(StackError, match=rf"in use already \(test, process {os.getpid()}, ready\)"):
        Stack(made, PROFILES["test"]).claim("another")


def test_roles_have_passwords_and_nobody_logs_in_as_the_superuser(tmp_path):
    with running(tmp_path) as stack:
        app, owner = url(stack, "DATABASE_URL"), url(stack, "MIGRATE_DATABASE_URL")
        roles = (
            "SELECT rolname::text, rolcanlogin, rolcreatedb, rolsuper FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1"
        )
        with psycopg.connect(owner) as connection:
            assert connection.execute(roles).fetchall() == [
                ("app", True, False, False),
                ("owner", True, True, False),
                ("postgres", True, True, True),
                ("readonly", True, False, False),
            ]
        for refused in (re.sub(r":[^:@]*@", ":wrong@", app), re.sub(r"//app:[^@]*", "//postgres:", app)):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(refused)
        with (
            pytest.raises(redis.AuthenticationError),
            redis.Redis.from_url(re.sub(r":[^:@]*@", ":wrong@", url(stack, "REDIS_URL"))) as cache,
        ):
            cache.ping()


def test_settings_are_the_ones_the_service_relies_on(made):
    with running(made, "up") as stack:
        settings = "SELECT " + ", ".join(
            f"current_setting('{name}')"
            for name in ("max_prepared_transactions", "listen_addresses", "TimeZone", "fsync", "server_encoding")
        )
        assert one(url(stack, "DATABASE_URL"), settings) == ("100", "127.0.0.1", "UTC", "on", "UTF8")
        with cache_of(stack) as cache:
            found = cache.config_get("maxmemory-policy", "appendonly", "appendfsync", "bind")
        assert found == {
            "maxmemory-policy": "noeviction",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "bind": "127.0.0.1",
        }


def test_secrets_are_readable_by_their_owner_alone_and_not_in_any_command_line(tmp_path):
    with running(tmp_path) as stack:
        secrets = re.findall(r'"([\w-]{30,})"', (tmp_path / "state.json").read_text())
        readable = [
            path
            for path in tmp_path.rglob("*")
            if path.is_file()
            and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
            and any(secret.encode() in path.read_bytes() for secret in secrets)
        ]
        lines = subprocess.run(["ps", "-Awwo", "args"], capture_output=True, text=True, check=True).stdout

        assert len(secrets) == 5
        assert stat.S_IMODE((tmp_path / "state.json").stat().st_mode) == 0o600
        assert [path for path in readable if "postgresql-" not in str(path) and "valkey-" not in str(path)] == []
        assert not any(secret in lines for secret in secrets)
        assert stack.servers


def test_a_server_that_the_environment_names_is_used_and_none_is_started(tmp_path, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://me@127.0.0.1:1/mine")
    monkeypatch.setenv("DEBUG", "1")

    with running(tmp_path) as stack:
        found = environment(tmp_path, "web", os.environ)

        assert [server.name for server in stack.servers] == ["valkey"]
        assert found["DATABASE_URL"] == "postgresql://me@127.0.0.1:1/mine"
        assert "MIGRATE_DATABASE_URL" not in found
        assert found["DEBUG"] == "1"
        assert found["REDIS_URL"].startswith("redis://:")


def test_lost_passwords_are_said_plainly_and_the_data_is_left_alone(made):
    with running(made):
        pass
    (made / "state.json").unlink()

    with pytest.raises(StackError, match=r"delete .* to start afresh"), running(made):
        pytest.fail("started without its passwords")
    assert len(list(made.glob("postgresql-*/PG_VERSION"))) == 1


STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.fork()
os.write(1, b"deaf\\n")
time.sleep(600)
"""


def test_a_process_that_ignores_sigterm_is_killed_with_its_children(tmp_path, capfd):
    supervisor = Supervisor(tmp_path, [])
    supervisor.start("worker", [sys.executable, "-c", STUBBORN], cwd=tmp_path, env=os.environ, grace_s=0.3)
    printed: list[str] = []

    def both_have_begun() -> bool:
        printed.append(capfd.readouterr().out)
        return "".join(printed).count("deaf") == 2

    supervisor.run_until(both_have_begun)
    group = int((tmp_path / "worker.pid").read_text())

    begin = time.monotonic()
    supervisor.stop()

    assert 0.3 <= time.monotonic() - begin < 5
    assert set("".join(printed).splitlines()) == {"  worker | deaf"}
    assert wait_until(lambda: not _group_lives(group), timeout_s=5)


def _group_lives(group: int) -> bool:
    listed = subprocess.run(["ps", "-Ao", "pgid=,stat="], capture_output=True, text=True, check=True).stdout
    return any(re.fullmatch(rf"\s*{group}\s+[^Z]\S*\s*", line) for line in listed.splitlines())


def test_a_process_that_ends_by_itself_is_named_with_its_exit_code_and_its_last_words_are_shown(tmp_path, capfd):
    supervisor = Supervisor(tmp_path, [])
    script = "import sys; print('last words', end=''); sys.exit(3)"
    supervisor.start("schedule", [sys.executable, "-c", script], cwd=tmp_path, env=os.environ, grace_s=1)
    assert wait_until(lambda: not _group_lives(int((tmp_path / "schedule.pid").read_text())), timeout_s=10)

    with pytest.raises(StackError, match=r"^schedule ended by itself \(exit code 3\)\.$"):
        supervisor.run_until(lambda: False)
    supervisor.stop()

    assert capfd.readouterr().out == "schedule | last words\n"


def test_a_server_that_dies_is_named_and_what_runs_on_it_is_stopped(made):
    with running(made) as stack:
        postgres = next(server for server in stack.servers if server.name == "postgres")
        supervisor = Supervisor(made, stack.servers)
        script = "import time; print('works', flush=True); time.sleep(600)"
        supervisor.start("worker", [sys.executable, "-c", script], cwd=made, env=os.environ, grace_s=5)
        group = int((made / "worker.pid").read_text())
        os.kill(postgres.process.pid, signal.SIGKILL)

        with pytest.raises(StackError, match=r"^postgres ended by itself \(killed by SIGKILL\)\.$"):
            supervisor.run_until(lambda: False)
        assert _group_lives(group)
        supervisor.stop()

        assert not _group_lives(group)
    assert living_in(made) == []


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["up", "--port", "x"],
        ["up", "--port", "0"],
        ["up", "--port", "65536"],
        ["up", "8000"],
        ["bench", "-x"],
    ],
    ids=" ".join,
)
def test_wrong_arguments_show_the_usage_and_exit_with_2(arguments):
    done = subprocess.run([sys.executable, "dev.py", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stderr.startswith("usage: python3 dev.py")


def test_help_names_every_command_and_exits_with_0():
    done = subprocess.run([sys.executable, "dev.py", "--help"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0
    assert {"up", "test", "bench", "manage"} <= set(done.stdout.split())


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the project, so that its `.local` is a new one; the packages are those of this run."""
    copy = tmp_path / "a checkout"
    left_out = shutil.ignore_patterns(".*", "__pycache__", "tests", "benchmarks", "docs", "staticfiles")
    shutil.copytree(ROOT, copy, ignore=left_out)
    return copy


def localstack(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "config.localstack", *arguments]


def test_a_taken_port_is_said_plainly_before_anything_starts(checkout):
    with running(checkout / "other") as other:
        port = port_of(url(other, "REDIS_URL"))
        done = subprocess.run(
            localstack("up", "--port", str(port)), cwd=checkout, capture_output=True, text=True, check=False
        )

    assert done.returncode == 1
    assert done.stderr == (
        f"Port {port} is taken: stop what listens there, or choose another with --port {port + 1}.\n"
    )
    assert not list((checkout / ".local" / "up").glob("postgres*"))


def test_manage_starts_the_servers_for_a_command_passes_its_exit_code_and_stops_them(checkout):
    code = "import sys; from django.db import connection as c; c.ensure_connection(); sys.exit(int(sys.stdin.read()))"
    done = subprocess.run(
        localstack("manage", "shell", "--no-imports", "--command", code),
        cwd=checkout,
        input="7",
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (7, "")
    assert sys.platform != "linux" or living_in(checkout) == []


def test_manage_without_an_environment_points_to_dev_py(checkout):
    done = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=checkout, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "DATABASE_URL is not set" in done.stderr
    assert done.stderr.endswith("On the local stack: python3 dev.py manage check\n")


@pytest.mark.timeout(180)
def test_up_serves_refuses_a_second_up_lends_its_servers_and_leaves_nothing_behind(checkout):
    port = free_port(18_000)
    service = subprocess.Popen(
        localstack("up", "--port", str(port)), cwd=checkout, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert service.stdout
    try:
        shown = []
        for line in service.stdout:
            shown.append(line)
            if line.startswith("ready:"):
                break
        assert shown[-1:] == [f"ready: http://127.0.0.1:{port}\n"], "".join(shown)
        assert stat.S_IMODE((checkout / ".local" / "demo.json").stat().st_mode) == 0o600
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            assert answer.status == 200

        second = subprocess.run(
            localstack("up", "--port", str(port)), cwd=checkout, capture_output=True, text=True, check=False
        )
        assert second.returncode == 1
        assert second.stderr == f"This checkout's stack is in use already (dev.py up, process {service.pid}, ready).\n"

        lent = subprocess.run(
            localstack("manage", "migrate", "--check"), cwd=checkout, capture_output=True, check=False
        )
        assert lent.returncode == 0

        begin = time.monotonic()
        service.send_signal(signal.SIGTERM)
        rest, _ = service.communicate(timeout=30)
        assert time.monotonic() - begin < 30
        assert service.returncode == 0, rest
        assert sys.platform != "linux" or living_in(checkout) == []
        assert is_free(port)
    finally:
        service.kill()
        service.communicate()
