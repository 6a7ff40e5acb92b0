"""What Apache Kafka left and the broker under test cannot honour is refused before anything of the folder is changed."""

import subprocess
import time
import types

from lib import brokers
from lib.runner import timeout
from scenario import Asking, codec, produce_body
from test_guard import assert_refused, fingerprint

TIMEOUT_MS = 900_000  # what a broker allows at most: no transaction here ends by itself
ID = "rf-id"


def kafka(env, data, name):
    broker = brokers.KINDS["kafka"](env.tmp / name, env.port(2), {"log.dirs": str(data)})
    env.own.append(broker)
    return broker.start()


def patiently(ask, api, version, body, code_of):
    """The coordinator may have to be made, or to load, first; the answer that is no error."""
    for _ in range(150):
        ask.ask("FindCoordinator", 4, {"keyType": 1, "coordinatorKeys": [ID]})
        answer = ask.ask(api, version, body)
        if code_of(answer) == 0:
            return answer
        time.sleep(0.1)
    raise AssertionError(f"{api}: {answer}")


def begin(ask, topic):
    """A transaction with a partition in it and no data yet. A producer that comes again with the id ends its last one."""
    own = patiently(ask, "InitProducerId", 4, {"transactionalId": ID, "transactionTimeoutMs": TIMEOUT_MS},
                    lambda answer: answer["errorCode"])
    producer, epoch = own["producerId"], own["producerEpoch"]
    patiently(ask, "AddPartitionsToTxn", 3, {
        "v3AndBelowTransactionalId": ID, "v3AndBelowProducerId": producer, "v3AndBelowProducerEpoch": epoch,
        "v3AndBelowTopics": [{"name": topic, "partitions": [0]}]},
        lambda answer: answer["resultsByTopicV3AndBelow"][0]["resultsByPartition"][0]["partitionErrorCode"])
    return producer, epoch


def write(ask, topic, **batch):
    answer = ask.ask("Produce", 9, produce_body(topic, codec().batch(
        [{"key": "k", "value": f"{i}"} for i in range(5)], **batch), transactionalId=ID if "producerId" in batch else None))
    assert answer["responses"][0]["partitionResponses"][0]["errorCode"] == 0, answer


def refuse_unchanged(env, data):
    before = fingerprint(data)
    said = assert_refused(env, data)
    after = fingerprint(data)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert not changed, f"the refused folder was changed: {changed}"
    return said


@timeout(180)
def test_unfinished_transactions(env):
    if env.broker_kind == "kafka":
        return
    first = env.broker(kind="kafka", name="first")
    ask = Asking(first)
    ask.create("rf-txn")
    ask.create("rf-gone")
    write(ask, "rf-txn")
    producer, epoch = begin(ask, "rf-txn")
    write(ask, "rf-txn", producerId=producer, epoch=epoch, sequence=0, transactional=True)
    ask.ask("DeleteTopics", 6, {"timeoutMs": 5000, "topics": [{"name": "rf-gone"}]})  # its folder waits for its removal
    ask.settle()
    ask.close()
    first.stop()
    said = refuse_unchanged(env, first.data)
    sentence = f"rf-txn-0 in {first.data} holds an unfinished transaction of producer {producer} since offset 5"
    assert sentence in said and "kafka-transactions.sh abort" in said, said

    then = kafka(env, first.data, "then")
    ask = Asking(then)
    begin(ask, "rf-txn")
    ask.close()
    then.stop()
    said = refuse_unchanged(env, first.data)
    assert f"in {first.data} holds the unfinished transaction of transactional.id {ID} " in said and "Ongoing" in said, said

    last = kafka(env, first.data, "last")
    ask = Asking(last)
    own = patiently(ask, "InitProducerId", 4, {"transactionalId": ID, "transactionTimeoutMs": TIMEOUT_MS},
                    lambda answer: answer["errorCode"])
    assert own["errorCode"] == 0
    ask.close()
    last.stop()
    served = brokers.KINDS[env.broker_kind](env.tmp / "served", env.port(2), {"log.dirs": str(first.data)})
    env.own.append(served)
    served.start()
    assert stable_offset(served, "rf-txn") > 10, "the markers of the aborts are not there"
    served.stop()


def stable_offset(broker, topic):
    ask = Asking(broker)
    ask.wait_leaders(topic)
    answer = ask.ask("ListOffsets", 8, {"replicaId": -1, "isolationLevel": 1, "topics": [
        {"name": topic, "partitions": [{"partitionIndex": 0, "timestamp": -1}]}]})
    ask.close()
    partition = answer["topics"][0]["partitions"][0]
    assert partition["errorCode"] == 0, answer
    return partition["offset"]


@timeout(120)
def test_unfinished_transaction_after_a_crash(env):
    """Only recovery can see it: the partition is served, to readers of committed records up to the transaction."""
    if env.broker_kind == "kafka":
        return
    first = env.broker(kind="kafka", name="first")
    ask = Asking(first)
    ask.create("rf-crash")
    write(ask, "rf-crash")
    producer, epoch = begin(ask, "rf-crash")
    write(ask, "rf-crash", producerId=producer, epoch=epoch, sequence=0, transactional=True)
    ask.close()
    first.kill()
    second = brokers.KINDS[env.broker_kind](env.tmp / "second", env.port(2), {"log.dirs": str(first.data)})
    env.own.append(second)
    for _ in range(2):  # what our own run left is believed, not refused
        second.start()
        assert stable_offset(second, "rf-crash") == 5
        assert "rf-crash-0 holds an unfinished transaction since offset 5" in second.log_path.read_text()
        second.stop()


def register_broker(broker, number):
    """As another broker does at its start; the controller listens one port above."""
    ask = Asking(types.SimpleNamespace(host=broker.host, port=broker.port + 1, name=broker.name))
    cluster = [line for line in (broker.data / "meta.properties").read_text().splitlines() if line.startswith("cluster.id=")]
    known = {"metadata.version": 30, "kraft.version": 1, "transaction.version": 2, "group.version": 1,
             "eligible.leader.replicas.version": 1, "share.version": 1, "streams.version": 1}
    answer = ask.ask("BrokerRegistration", 4, {
        "brokerId": number, "clusterId": cluster[0].split("=", 1)[1], "incarnationId": "AAAAAAAAQACAAAAAAAAABw",
        "listeners": [{"name": "PLAINTEXT", "host": "127.0.0.1", "port": 1, "securityProtocol": 0}],
        "features": [{"name": name, "minSupportedVersion": 7 if name == "metadata.version" else 0,
                      "maxSupportedVersion": level} for name, level in known.items()],
        "rack": None, "isMigratingZkBroker": False, "logDirs": ["AAAAAAAAQACAAAAAAAAACQ"], "previousBrokerEpoch": -1})
    ask.close()
    assert answer["errorCode"] == 0, answer


@timeout(120)
def test_another_broker(env):
    if env.broker_kind == "kafka":
        return
    first = env.broker(kind="kafka", name="first")
    register_broker(first, 2)
    first.stop()
    said = refuse_unchanged(env, first.data)
    assert "broker 2 is registered" in said and "kafka-cluster.sh unregister --id 2" in said, said

    then = kafka(env, first.data, "then")
    ask = Asking(then)
    answer = ask.ask("CreateTopics", 7, {"timeoutMs": 15000, "topics": [{
        "name": "rf-two", "numPartitions": -1, "replicationFactor": -1, "configs": [],
        "assignments": [{"partitionIndex": 0, "brokerIds": [1, 2]}]}]})
    assert answer["topics"][0]["errorCode"] == 0, answer
    ask.settle()
    ask.close()
    then.stop()
    said = refuse_unchanged(env, first.data)
    assert "rf-two-0 has a replica on broker 2" in said and "kafka-reassign-partitions.sh" in said, said
