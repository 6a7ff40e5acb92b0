"""Finds test functions, runs them one after the other, and prints one line for each."""

import importlib.util
import pathlib
import shutil
import signal
import sys
import tempfile
import time
import traceback

from . import brokers, paths

TIMEOUT_S = 120


def timeout(seconds):
    """Decorator: this test may take longer (or must be quicker) than the others."""
    def set_timeout(function):
        function.timeout_s = seconds
        return function
    return set_timeout


class Env:
    """What a test gets: a folder of its own, brokers of the kind under test, and ports."""

    def __init__(self, broker_kind, port_first, root):
        self.broker_kind = broker_kind
        self.root = root
        self.update_golden = False
        self.port_first = port_first
        self.port_next = port_first
        self.tmp = None
        self.own = []
        self.shared_broker = None
        self.shared_count = 0

    def port(self, count=1):
        """The first of `count` ports that no other broker of this run has."""
        port = self.port_next
        self.port_next += count
        return port

    def broker(self, kind=None, name="broker", config=None, **options):
        """A started broker for this test alone; ended with the test."""
        broker_class = brokers.KINDS[kind or self.broker_kind]
        broker = broker_class(self.tmp / name, self.port(2), config, **options)
        self.own.append(broker)
        return broker.start()

    def shared(self):
        """One started broker for all tests that are content with default properties; a new one when it died."""
        if self.shared_broker is None:
            broker_class = brokers.KINDS[self.broker_kind]
            self.shared_count += 1
            broker = broker_class(self.root / f"shared-{self.shared_count}", self.port(2))
            broker.start()
            self.shared_broker = broker
            self.port_first = self.port_next
        return self.shared_broker

    def in_use(self):
        return self.own or [b for b in [self.shared_broker] if b]

    def check_alive(self):
        """No test may end a broker's process but by stop() and kill()."""
        for broker in self.own + [b for b in [self.shared_broker] if b]:
            status = broker.died()
            if status is not None:
                if broker is self.shared_broker:
                    self.shared_broker = None
                    self.own.append(broker)
                raise brokers.BrokerFailed(f"the {broker.name} process died, status {status}")

    def begin(self, name):
        self.tmp = self.root / name
        self.tmp.mkdir(parents=True)

    def end(self):
        for broker in self.own:
            broker.kill()
        self.own.clear()
        self.port_next = self.port_first

    def close(self):
        if self.shared_broker is not None:
            self.shared_broker.kill()


def discover(folders, patterns):
    """(name, function) of each test_* function of each test_*.py file whose name holds a pattern."""
    tests = []
    for folder in folders:
        for path in sorted(folder.rglob("test_*.py")):
            if "node_modules" in path.parts:
                continue
            module_name = "_".join(path.relative_to(paths.REPO).with_suffix("").parts)
            where = str(path.relative_to(paths.REPO / "tests").with_suffix(""))
            spec = importlib.util.spec_from_file_location(module_name, path)
            module = importlib.util.module_from_spec(spec)
            sys.modules[module_name] = module
            sys.path.insert(0, str(path.parent))
            spec.loader.exec_module(module)
            sys.path.pop(0)
            for name, function in vars(module).items():
                full = f"{where}.{name.removeprefix('test_')}".replace("/test_", "/")
                if name.startswith("test_") and callable(function):
                    if not patterns or any(p in full for p in patterns):
                        tests.append((full, function))
    return tests


def on_alarm(_signal, _frame):
    raise TimeoutError("the test took longer than it may")


def run_one(env, name, function):
    """The failure as text, or None."""
    signal.signal(signal.SIGALRM, on_alarm)
    signal.alarm(getattr(function, "timeout_s", TIMEOUT_S))
    env.begin(name.replace("/", "_"))
    try:
        try:
            function(env)
        finally:
            env.check_alive()
        return None
    except Exception as failure:
        signal.alarm(0)
        text = str(failure) if isinstance(failure, AssertionError) and str(failure) else traceback.format_exc()
        for broker in env.in_use():
            tail = broker.log_tail()
            if tail:
                text += f"\n--- {broker.log_path.parent.name}, its last lines:\n{tail}"
        return text
    finally:
        signal.alarm(0)
        env.end()


def main(options):
    tests = discover([paths.REPO / "tests"], options.patterns)
    if options.list:
        for name, _ in tests:
            print(name)
        return 0
    if not tests:
        print(f"no test matches {' '.join(options.patterns)}", file=sys.stderr)
        return 2

    width = max(len(name) for name, _ in tests)
    root = pathlib.Path(tempfile.mkdtemp(prefix="taffrail-e2e-"))
    env = Env(options.broker, options.port, root)
    env.update_golden = options.update_golden
    failed = 0
    try:
        for name, function in tests:
            began = time.monotonic()
            if sys.stdout.isatty():
                print(f"      {name}", end="\r", flush=True)
            failure = run_one(env, name, function)
            took = time.monotonic() - began
            print(f"{'FAIL' if failure else 'ok  '}  {name:<{width}}  {took:7.2f} s", flush=True)
            if failure:
                failed += 1
                print("\n".join("      " + line for line in failure.rstrip().splitlines()), flush=True)
    finally:
        env.close()
        if options.keep:
            print(f"kept {root}")
        else:
            shutil.rmtree(root, ignore_errors=True)
    print(f"{len(tests) - failed} passed, {failed} failed")
    return 1 if failed else 0
