"""kafka-python's consumer, which does what it is told on its standard input, a command a line; see test_consumer_settings.py.

    steered.py BOOTSTRAP TOPIC setting=value...

    poll MS     one poll: "records OFFSET..."
    commit      commits the positions: "ok"
    close       leaves the group: "ok", and the program ends

A command that fails says "error" and the class of the failure.
"""

import sys

from kafka import KafkaConsumer


def typed(value):
    if value in ("true", "false"):
        return value == "true"
    return int(value) if value.isdecimal() else value


def main(bootstrap, topic, *settings):
    pairs = (setting.split("=", 1) for setting in settings)
    consumer = KafkaConsumer(topic, bootstrap_servers=bootstrap, fetch_max_wait_ms=50,
                             **{name.replace(".", "_"): typed(value) for name, value in pairs})
    for line in sys.stdin:
        command, *rest = line.split()
        try:
            if command == "poll":
                polled = consumer.poll(timeout_ms=int(rest[0]))
                print("records", *(record.offset for some in polled.values() for record in some), flush=True)
                continue
            {"commit": consumer.commit, "close": consumer.close}[command]()
            print("ok", flush=True)
        except Exception as failure:
            print("error", type(failure).__name__, flush=True)
        if command == "close":
            return


if __name__ == "__main__":
    main(*sys.argv[1:])
