"""ConsumerGroupHeartbeat and ConsumerGroupDescribe (KIP-848): members that come, stay and go, and bad requests."""

import time

from protocol import framed
from scenario import codec
from test_offsets import Groups

SOON_MS = 500
SOON = "a member that waits, or has to give back, is asked to speak again at once"
NOTHING = {"topicPartitions": []}


def ordered(answer):
    """Groups, members and topics of a description are sets."""
    answer.get("groups", []).sort(key=lambda g: g["groupId"])
    for group in answer.get("groups", []):
        group["members"].sort(key=lambda m: m["memberId"])
        for member in group["members"]:
            member["subscribedTopicNames"].sort()
            for side in ("assignment", "targetAssignment"):
                member[side]["topicPartitions"].sort(key=lambda t: t["topicName"])
                for topic in member[side]["topicPartitions"]:
                    topic["partitions"].sort()
    return answer


class Members(Groups):
    def __init__(self, env, name):
        # Without the pause between two assignments the answers do not depend on the clock.
        super().__init__(env, name, config={"group.consumer.assignment.interval.ms": "0"})

    def beat(self, step, group, member, epoch, version=1, soon=False, keep=None, **fields):
        name = f"{step} (ConsumerGroupHeartbeat v{version})"
        if soon:
            self.exceptions.argue(name, SOON, **{".heartbeatIntervalMs": SOON_MS})
        return self.call(step, "ConsumerGroupHeartbeat", version,
                         {"groupId": group, "memberId": member, "memberEpoch": epoch, **fields}, keep=keep)

    def join(self, step, group, member, topics=(), version=1, soon=False, **fields):
        body = {"rebalanceTimeoutMs": 60000, "subscribedTopicNames": list(topics), "topicPartitions": [], **fields}
        return self.beat(step, group, member, 0, version, soon, **body)

    def describe(self, step, *groups, version=1, **fields):
        return self.call(step, "ConsumerGroupDescribe", version, {"groupIds": list(groups), **fields}, keep=ordered)

    def owned(self, **topics):
        return [{"topicId": self.ids[name.replace("_", "-")], "partitions": p} for name, p in topics.items()]


def owned_of(answer):
    return [{"topicId": t["topicId"], "partitions": t["partitions"]} for t in answer["assignment"]["topicPartitions"]]


def test_requests(env):
    with Members(env, "consumer_group_requests") as s:
        s.create("cr-a", partitions=2)
        s.wait_coordinator("cr-group", "cr-nobody")
        for version in (0, 1):
            for step, fields in (
                    ("no rebalance timeout", {"rebalanceTimeoutMs": -1}),
                    ("no subscription", {"subscribedTopicNames": None}),
                    ("owned is not said", {"topicPartitions": None}),
                    ("owns something", {"topicPartitions": s.owned(cr_a=[0])}),
                    ("an empty instance", {"instanceId": ""}),
                    ("a blank instance", {"instanceId": " \t"}),
                    ("an empty rack", {"rackId": ""}),
                    ("no such assignor", {"serverAssignor": "nope"}),
                    ("an empty assignor", {"serverAssignor": ""})):
                s.join(step, "cr-group", "m", ["cr-a"], version, **fields)
            s.join("an empty group", "", "m", ["cr-a"], version)
            s.join("a blank group", "  ", "m", ["cr-a"], version)
            s.beat("an empty member", "cr-group", "", 1, version)
            s.beat("an empty member leaves", "cr-group", "", -1, version)
            s.beat("an empty static member leaves", "cr-group", "", -2, version, instanceId="i")
            s.beat("leaves for now without an instance", "cr-group", "m", -2, version)
            s.beat("an epoch below", "cr-group", "m", -3, version)
            s.beat("no such group", "cr-nobody", "m", 1, version)
            s.beat("leaves no such group", "cr-nobody", "m", -1, version)
            s.beat("leaves no such group for now", "cr-nobody", "m", -2, version, instanceId="i")
        s.join("an empty member joins", "cr-group", "", ["cr-a"], 1)
        for pattern in ("(", "a{1001}", "(a)\\1", "(?=a)", "a**", "[z-a]", "\\", "[", "(?P<n>a)(?P<n>b)", "*"):
            s.join("a bad expression " + pattern, "cr-group", "m", subscribedTopicNames=None,
                   subscribedTopicRegex=pattern)
        s.describe("nobody came", "cr-group", "cr-nobody", "")
        s.describe("none asked", version=0)
        answer = s.ask("ConsumerGroupHeartbeat", 0, {
            "groupId": "cr-group", "memberId": "", "memberEpoch": 0, "rebalanceTimeoutMs": 1000,
            "subscribedTopicNames": ["cr-a"], "topicPartitions": []})
        s.write("the broker makes an id", {**answer, "memberId": len(answer["memberId"])})
        s.commit("not a consumer group", "cr-simple", {("cr-a", 0): 1})
        s.describe("a group that only commits", "cr-simple")
        s.beat("speaks to a group that only commits", "cr-simple", "m", 1)
        s.beat("leaves a group that only commits", "cr-simple", "m", -1)
        s.join("joins a group that only commits", "cr-simple", "m", ["cr-a"])
        s.describe("it is a consumer group now", "cr-simple")
        s.fetch_offsets("and has its offsets", "cr-simple", None)


def test_one_member(env):
    with Members(env, "consumer_group_member") as s:
        s.create("cm-a", "cm-b", partitions=3)
        s.wait_coordinator("cm-group")
        group = "cm-group"
        for version in (0, 1):
            member = f"m-{version}"
            answer = s.join("joins", group, member, ["cm-a"], version)
            epoch, owned = answer["memberEpoch"], owned_of(answer)
            s.describe("has joined", group, version=version)
            s.beat("stays", group, member, epoch, version)
            s.beat("tells what it has", group, member, epoch, version, topicPartitions=owned)
            s.beat("tells of all", group, member, epoch, version, rebalanceTimeoutMs=60000, topicPartitions=owned,
                   subscribedTopicNames=["cm-a"])
            s.beat("an epoch too high", group, member, epoch + 1, version)
            s.beat("an epoch too low", group, member, epoch - 1, version)
            s.beat("a stranger", group, "x", epoch, version)
            s.beat("a stranger leaves", group, "x", -1, version)
            s.beat("a stranger's instance", group, "x", epoch, version, instanceId="i")
            s.beat("a stranger's instance leaves", group, "x", -2, version, instanceId="i")
            s.join("joins again", group, member, ["cm-a"], version)
            answer = s.beat("wants more", group, member, epoch, version, subscribedTopicNames=["cm-b", "cm-a", "cm-b"])
            s.describe("has more", group, version=version)
            s.beat("speaks with the epoch before", group, member, epoch, version, topicPartitions=owned)
            s.beat("with the epoch before, of too much", group, member, epoch, version,
                   topicPartitions=s.owned(cm_a=[0, 1, 2, 3]))
            s.beat("with the epoch before, of nothing", group, member, epoch, version)
            epoch, owned = answer["memberEpoch"], owned_of(answer)
            s.beat("wants less", group, member, epoch, version, soon=True, subscribedTopicNames=["cm-a"])
            s.describe("gives back", group, version=version)
            s.beat("still has it", group, member, epoch, version, soon=True, topicPartitions=owned)
            answer = s.beat("has given back", group, member, epoch, version,
                            topicPartitions=s.owned(cm_a=[0, 1, 2]))
            epoch = answer["memberEpoch"]
            s.beat("wants what is not there", group, member, epoch, version,
                   subscribedTopicNames=["cm-a", "cm-nothing"])
            s.describe("waits for a topic", group, version=version)
            epoch = s.beat("another assignor", group, member, epoch, version, serverAssignor="range")["memberEpoch"]
            s.beat("another rack", group, member, epoch, version, rackId="r")
            s.describe("with assignor and rack", group, version=version, includeAuthorizedOperations=True)
            for commit_version in (8, 9, 10):
                for step, e, m in (("commits", epoch, member), ("commits too early", epoch + 1, member),
                                   ("commits late", epoch - 1, member), ("commits as nobody", -1, ""),
                                   ("commits as a stranger", epoch, "x"), ("commits without an epoch", -1, member)):
                    s.commit(step, group, {("cm-a", 0): 5, ("cm-a", 1): 6}, version=commit_version, generation=e,
                             member=m)
            s.commit("commits what it has not", group, {("cm-b", 0): 5}, version=9, generation=epoch - 1, member=member)
            for fetch_version in (9, 10):
                for step, e, m in (("reads", epoch, member), ("reads too early", epoch + 1, member),
                                   ("reads late", epoch - 1, member), ("reads as nobody", -1, None),
                                   ("reads as a stranger", epoch, "x")):
                    s.fetch_offsets(step, group, {"cm-a": [0]}, version=fetch_version, memberId=m, memberEpoch=e)
            s.beat("leaves", group, member, -1, version)
            s.describe("has left", group, version=version)
            s.beat("leaves again", group, member, -1, version)
            s.beat("speaks though it left", group, member, epoch, version)


def test_handover(env):
    with Members(env, "consumer_group_handover") as s:
        s.create("ch-a", partitions=4)
        s.wait_coordinator("ch-group")
        group = "ch-group"
        answer = s.join("the first joins", group, "a", ["ch-a"])
        a_epoch, a_owned = answer["memberEpoch"], owned_of(answer)
        b_epoch = s.join("the second joins", group, "b", ["ch-a"], soon=True)["memberEpoch"]
        s.describe("nothing moved yet", group)
        answer = s.ask("ConsumerGroupHeartbeat", 1, {"groupId": group, "memberId": "a", "memberEpoch": a_epoch})
        keeps = owned_of(answer)
        s.write("the first is told", {"epoch": answer["memberEpoch"], "keeps": len(keeps[0]["partitions"])})
        s.beat("the first still has all", group, "a", a_epoch, soon=True, topicPartitions=a_owned)
        s.beat("the second waits", group, "b", b_epoch, soon=True, topicPartitions=[])
        a_epoch = s.beat("the first has given back", group, "a", a_epoch, topicPartitions=keeps)["memberEpoch"]
        answer = s.ask("ConsumerGroupHeartbeat", 1, {"groupId": group, "memberId": "b", "memberEpoch": b_epoch})
        b_owned = owned_of(answer)
        s.write("the second has its share", {"epoch": answer["memberEpoch"], "has": len(b_owned[0]["partitions"])})
        s.commit("the first commits from the epoch before", group,
                 {("ch-a", p): 3 for p in keeps[0]["partitions"]}, version=9, generation=a_epoch - 1, member="a")
        s.commit("what the first has not any more", group,
                 {("ch-a", b_owned[0]["partitions"][0]): 3}, version=9, generation=a_epoch - 1, member="a")
        s.beat("the second leaves", group, "b", -1)
        answer = s.beat("the first has all again", group, "a", a_epoch, topicPartitions=keeps)
        s.describe("is alone", group)
        s.beat("the first leaves", group, "a", -1)


def test_static_members(env):
    with Members(env, "consumer_group_static") as s:
        s.create("cs-a", partitions=2)
        s.wait_coordinator("cs-group")
        group, me = "cs-group", {"instanceId": "i"}
        epoch = s.join("joins", group, "a", ["cs-a"], **me)["memberEpoch"]
        s.describe("has joined", group)
        s.join("another id while it is there", group, "b", ["cs-a"], **me)
        s.join("the same id while it is there", group, "a", ["cs-a"], **me)
        s.beat("another id speaks", group, "b", epoch, **me)
        s.beat("another id leaves", group, "b", -2, **me)
        s.beat("another id leaves for ever", group, "b", -1, **me)
        s.beat("another instance", group, "a", epoch, instanceId="j")
        s.beat("without the instance", group, "a", epoch)
        s.beat("leaves for now", group, "a", -2, **me)
        s.describe("is away", group)
        s.beat("speaks while it is away", group, "a", epoch, **me)
        s.join("comes back", group, "c", ["cs-a"], **me)
        s.describe("is back", group)
        s.beat("its former self", group, "a", epoch, **me)
        s.beat("leaves for now again", group, "c", -2, **me)
        s.join("comes back as it was", group, "c", ["cs-a"], **me)
        s.beat("leaves for ever", group, "c", -1, **me)
        s.describe("is gone", group)


def test_topics_change(env):
    with Members(env, "consumer_group_topics") as s:
        s.create("ct-a", partitions=1)
        s.wait_coordinator("ct-group", "ct-regex")

        def full(step, group, member, epoch, owned, **more):
            return s.beat(step, group, member, epoch, rebalanceTimeoutMs=60000, topicPartitions=owned, **more)

        wants = {"subscribedTopicNames": ["ct-a", "ct-b"]}
        answer = s.join("joins", "ct-group", "m", ["ct-a", "ct-b"])
        s.create("ct-b", partitions=2)
        answer = full("a topic came", "ct-group", "m", answer["memberEpoch"], owned_of(answer), **wants)
        s.ask("CreatePartitions", 3, {"timeoutMs": 10000, "topics": [{"name": "ct-a", "count": 3, "assignments": None}]})
        s.wait_leaders("ct-a")
        s.settle()
        answer = full("a topic grew", "ct-group", "m", answer["memberEpoch"], owned_of(answer), **wants)
        s.describe("with more", "ct-group")

        expression = {"subscribedTopicRegex": "ct-[ab]"}
        answer = s.ask("ConsumerGroupHeartbeat", 1, {
            "groupId": "ct-regex", "memberId": "m", "memberEpoch": 0, "rebalanceTimeoutMs": 60000,
            "topicPartitions": [], **expression})
        time.sleep(1)  # Apache Kafka looks for topics after it has answered
        answer = s.ask("ConsumerGroupHeartbeat", 1, {
            "groupId": "ct-regex", "memberId": "m", "memberEpoch": answer["memberEpoch"],
            "rebalanceTimeoutMs": 60000, "topicPartitions": [], **expression})
        assert answer["memberEpoch"] == 2, answer
        s.write("by an expression", sorted(len(t["partitions"]) for t in owned_of(answer)))
        described = ordered(s.ask("ConsumerGroupDescribe", 1, {"groupIds": ["ct-regex"]}))["groups"][0]["members"][0]
        s.write("by an expression, described", {k: described[k] for k in (
            "subscribedTopicNames", "subscribedTopicRegex", "memberType", "assignment")})
        s.beat("leaves", "ct-regex", "m", -1)


def test_group_configs(env):
    with Members(env, "consumer_group_configs") as s:
        s.create("cc-a", partitions=1)
        s.wait_coordinator("cc-group")

        def alter(step, **configs):
            return s.call(step, "IncrementalAlterConfigs", 1, {"resources": [{
                "resourceType": 32, "resourceName": "cc-group", "configs": [
                    {"name": k.replace("_", "."), "configOperation": 0, "value": str(v)} for k, v in configs.items()]}]})

        def describe(step):
            return s.call(step, "DescribeConfigs", 4, {"resources": [{
                "resourceType": 32, "resourceName": "cc-group", "configurationKeys": [
                    "consumer.session.timeout.ms", "consumer.heartbeat.interval.ms"]}]})

        describe("as it is")
        alter("a heartbeat interval", consumer_heartbeat_interval_ms=6000)
        describe("with one set")
        alter("a session too short", consumer_session_timeout_ms=1000)
        alter("a session too long", consumer_session_timeout_ms=60001)
        alter("a heartbeat interval too long", consumer_heartbeat_interval_ms=15001)
        alter("not a number", consumer_session_timeout_ms="soon")
        alter("no such setting", consumer_nonsense=1)
        s.settle()
        s.join("joins", "cc-group", "m", ["cc-a"])
        s.call("groups with settings", "ListConfigResources", 1, {"resourceTypes": [32]})
        s.beat("leaves", "cc-group", "m", -1)


def test_held_answers(env):
    """A client whose heartbeats' answers may wait is answered at once when it, or the group, has something to say."""
    with Members(env, "consumer_group_held") as s:
        s.create("cl-a", partitions=4)
        s.wait_coordinator("cl-group")
        group, beat = "cl-group", ("ConsumerGroupHeartbeat", 1)

        def send(on, member, epoch, **fields):
            body = {"groupId": group, "memberId": member, "memberEpoch": epoch, **fields}
            s.connection(on).send(framed(codec().encode(*beat, body)))

        def join(on, member):
            s.ask("ApiVersions", 3, {"clientSoftwareName": "apache-kafka-java", "clientSoftwareVersion": "4.3.1"}, on)
            send(on, member, 0, rebalanceTimeoutMs=60000, subscribedTopicNames=["cl-a"], topicPartitions=[])

        join("a", "a")
        answer = s.read(*beat, "a")
        epoch = answer["memberEpoch"]
        owned = owned_of(answer)
        send("a", "a", epoch, topicPartitions=owned)
        send("a", "a", -1)
        first, second = s.read(*beat, "a"), s.read(*beat, "a")
        s.write("a leave behind it", [first["errorCode"], first["memberEpoch"], second["errorCode"],
                                      second["memberEpoch"]])
        join("a", "a")
        answer = s.read(*beat, "a")
        send("a", "a", answer["memberEpoch"], topicPartitions=owned_of(answer))
        if s.broker.name == "kafka":
            s.read(*beat, "a")
        join("b", "b")
        if s.broker.name == "kafka":
            s.read(*beat, "b")
            send("a", "a", answer["memberEpoch"])
        answer = s.read(*beat, "a")
        s.write("the first hears of the second", [len(t["partitions"]) for t in answer["assignment"]["topicPartitions"]])
        send("a", "a", answer["memberEpoch"], topicPartitions=owned_of(answer))
        if s.broker.name == "kafka":
            s.read(*beat, "a")
            send("b", "b", answer["memberEpoch"] + 1, topicPartitions=[])
        answer = s.read(*beat, "b")
        s.write("the second has its share", [len(t["partitions"]) for t in answer["assignment"]["topicPartitions"]])
