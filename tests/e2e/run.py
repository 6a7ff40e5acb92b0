#!/usr/bin/env python3
"""Runs the end-to-end tests: real clients, Kafka's own tools, and the behaviour of the wire.

    tests/e2e/run.py                       every test, against build/release/taffrail
    tests/e2e/run.py tools behaviour       those whose name holds one of the words
    tests/e2e/run.py --broker kafka        the same tests against Apache Kafka, to judge the tests
"""

import argparse
import sys

sys.dont_write_bytecode = True

from lib import runner  # noqa: E402


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", metavar="pattern", help="part of a test's name")
    parser.add_argument("--broker", choices=["taffrail", "kafka"], default="taffrail", help="what to test")
    parser.add_argument("--port", type=int, default=29300, help="first of the ports to use (default 29300)")
    parser.add_argument("--update-golden", action="store_true",
                        help="write what Apache Kafka answers as the expected answers (with --broker kafka)")
    parser.add_argument("--keep", action="store_true", help="keep the folders of the brokers")
    parser.add_argument("--list", action="store_true", help="print the tests' names and run none")
    options = parser.parse_args()
    if options.update_golden and options.broker != "kafka":
        parser.error("--update-golden needs --broker kafka: the expected answers are Apache Kafka's")
    return options


if __name__ == "__main__":
    sys.exit(runner.main(arguments()))
