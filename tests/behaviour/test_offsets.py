"""FindCoordinator, OffsetCommit, OffsetFetch, OffsetDelete: offsets without membership, good requests and bad ones."""

import time

from scenario import Scenario, codec

MISSING_ID = "AAAAAAAAAAAAAAAAAAAAKg"
NOT_READY = (14, 15, 16)


class Groups(Scenario):
    """Names topics by id where a version wants that."""

    def __init__(self, env, name, **more):
        super().__init__(env, name, **more)
        self.ids = {}

    def create(self, *topics, **more):
        ids = super().create(*topics, **more)
        self.ids.update(zip(topics, ids))
        return ids

    def wait_coordinator(self, *groups):
        """Apache Kafka makes the topic of the offsets after it has answered, and loads it after that."""
        for group in groups:
            for _ in range(300):
                found = self.ask("FindCoordinator", 4, {"keyType": 0, "coordinatorKeys": [group]})
                loaded = self.ask("OffsetFetch", 7, {"groupId": group, "topics": []})
                if found["coordinators"][0]["errorCode"] == 0 and loaded["errorCode"] == 0:
                    break
                time.sleep(0.1)
            else:
                raise AssertionError(f"no coordinator for {group}: {found} {loaded}")

    def topic(self, version, name):
        by_id = {"topicId": self.ids.get(name, name)} if version >= 10 else {"name": name}
        return dict(by_id)

    def commit_body(self, version, group, offsets, generation=-1, member="", **more):
        topics = {}
        for (name, partition), offset in offsets.items():
            fields = offset if isinstance(offset, dict) else {"committedOffset": offset}
            fields = {"committedMetadata": "", **fields}
            topics.setdefault(name, []).append({"partitionIndex": partition, **fields})
        return {"groupId": group, "generationIdOrMemberEpoch": generation, "memberId": member, **more,
                "topics": [{**self.topic(version, n), "partitions": p} for n, p in topics.items()]}

    def commit(self, step, group, offsets, version=8, **more):
        return self.call(step, "OffsetCommit", version, self.commit_body(version, group, offsets, **more))

    def fetch_offsets(self, step, group, topics, version=7, **more):
        """`topics`: None for all, else partitions by name."""
        key = "partitionIndexes"
        asked = None if topics is None else [
            {**self.topic(version, n), key: p} for n, p in topics.items()]
        if version >= 8:
            body = {"groups": [{"groupId": group, "topics": asked, **more}]}
        else:
            body = {"groupId": group, "topics": asked, **more}
        return self.call(step, "OffsetFetch", version, body)


def test_find_coordinator(env):
    with Groups(env, "find_coordinator") as s:
        s.wait_coordinator("fc-group")
        for version in range(0, 4):
            s.call("a group", "FindCoordinator", version, {"key": "fc-group", "keyType": 0})
            s.call("an empty group", "FindCoordinator", version, {"key": "", "keyType": 0})
        for version in range(4, 7):
            s.call("two groups", "FindCoordinator", version,
                   {"keyType": 0, "coordinatorKeys": ["fc-group", "fc-other"]})
            s.call("the same twice", "FindCoordinator", version,
                   {"keyType": 0, "coordinatorKeys": ["fc-group", "fc-group"]})
            s.call("none", "FindCoordinator", version, {"keyType": 0, "coordinatorKeys": []})
            s.call("odd names", "FindCoordinator", version,
                   {"keyType": 0, "coordinatorKeys": ["", " ", "ä€😀", "x" * 1000]})
        for version in (1, 3):
            s.call("an unknown type", "FindCoordinator", version, {"key": "fc-group", "keyType": 9})
        for version in (4, 6):
            s.call("an unknown type", "FindCoordinator", version, {"keyType": 9, "coordinatorKeys": ["fc-group"]})
        s.call("the internal topic", "Metadata", 12, {"topics": [{"name": "__consumer_offsets"}]})
        for partition in (0, 99):
            s.produce("to the internal topic", "__consumer_offsets", codec().batch([{"key": "k", "value": "v"}]), partition=partition)


def test_offset_commit(env):
    with Groups(env, "offset_commit") as s:
        s.create("oc-a", "oc-b", partitions=3)
        s.wait_coordinator("oc-group", "oc-other", "", "ä€😀")
        for version in range(2, 11):
            s.commit("one", "oc-group", {("oc-a", 0): version}, version=version)
            s.fetch_offsets("is there", "oc-group", {"oc-a": [0, 1], "oc-b": [0]})
            s.commit("two topics", "oc-group", {("oc-a", 1): 5, ("oc-b", 2): 7 + version}, version=version)
            s.commit("no topic of that name", "oc-group", {(MISSING_ID, 0): 1}, version=version)
            s.commit("one of them is missing", "oc-group", {("oc-a", 2): version, (MISSING_ID, 0): 1}, version=version)
            s.commit("nothing", "oc-group", {}, version=version)
            s.commit("a partition that is not there", "oc-other", {("oc-a", 99): 3}, version=version)
            s.commit("a negative partition", "oc-other", {("oc-a", -1): 3}, version=version)
            s.commit("a negative offset", "oc-other", {("oc-a", 0): -5}, version=version)
            s.commit("metadata", "oc-other", {("oc-a", 1): {"committedOffset": 1, "committedMetadata": "x" * 4096}},
                     version=version)
            s.commit("too much of it", "oc-other", {("oc-a", 2): {"committedOffset": 1, "committedMetadata": "x" * 4097}},
                     version=version)
            s.commit("wide characters", "oc-other", {
                ("oc-b", 1): {"committedOffset": 1, "committedMetadata": "ä" * 4096},
                ("oc-b", 2): {"committedOffset": 1, "committedMetadata": "😀" * 2049}}, version=version)
            s.commit("no metadata", "oc-other", {("oc-b", 0): {"committedOffset": 1, "committedMetadata": None}},
                     version=version)
            s.commit("a generation without a group", "oc-nobody", {("oc-a", 0): 1}, version=version, generation=1,
                     member="m")
            s.commit("a member without a generation", "oc-group", {("oc-a", 0): 100}, version=version, member="m")
            s.commit("a generation of no members", "oc-group", {("oc-a", 0): 100}, version=version, generation=5,
                     member="m")
            s.commit("an empty group", "", {("oc-a", 0): 100 + version}, version=version)
            s.commit("a name that is not ASCII", "ä€😀", {("oc-a", 0): version}, version=version)
        for version in (7, 8):
            s.commit("an instance", "oc-group", {("oc-a", 0): 50}, version=version, groupInstanceId="i")
        for version in (6, 10):
            s.commit("a leader epoch", "oc-group",
                     {("oc-a", 0): {"committedOffset": 4, "committedLeaderEpoch": 3, "committedMetadata": "m"}},
                     version=version)
            s.fetch_offsets("with the epoch", "oc-group", {"oc-a": [0]})
        for version in (2, 4):
            s.commit("kept for a time", "oc-keep", {("oc-a", 0): 50}, version=version, retentionTimeMs=600000)
            s.fetch_offsets("is kept", "oc-keep", None)
        for group in ("oc-group", "oc-other", "oc-nobody", "", "ä€😀"):
            s.fetch_offsets(f"all of {group}", group, None)


def test_offset_fetch(env):
    with Groups(env, "offset_fetch") as s:
        s.create("of-a", "of-b", partitions=2)
        s.wait_coordinator("of-group", "of-nobody")
        s.commit("commit", "of-group", {("of-a", 0): 1, ("of-a", 1): {"committedOffset": 2, "committedLeaderEpoch": 0,
                                                                     "committedMetadata": "hello"}})
        for version in range(1, 11):
            s.fetch_offsets("asked", "of-group", {"of-a": [0, 1, 7], "of-b": [0]}, version=version)
            s.fetch_offsets("a topic that is not there", "of-group", {MISSING_ID: [0]}, version=version)
            s.fetch_offsets("a partition twice", "of-group", {"of-a": [0, 0]}, version=version)
            s.fetch_offsets("no topics", "of-group", {}, version=version)
            s.fetch_offsets("nobody", "of-nobody", {"of-a": [0]}, version=version)
            if version >= 2:
                s.fetch_offsets("all", "of-group", None, version=version)
                s.fetch_offsets("all of nobody", "of-nobody", None, version=version)
            if version >= 7:
                body = {"requireStable": True}
                if version < 8:
                    s.fetch_offsets("stable", "of-group", {"of-a": [0]}, version=version, **body)
                else:
                    s.call("stable", "OffsetFetch", version, {"requireStable": True, "groups": [
                        {"groupId": "of-group", "topics": [{**s.topic(version, "of-a"), "partitionIndexes": [0, 1]}]}]})
        for version in range(8, 11):
            s.call("three groups", "OffsetFetch", version, {"groups": [
                {"groupId": g, "topics": [{**s.topic(version, "of-a"), "partitionIndexes": [0]}]}
                for g in ("of-group", "of-nobody", "of-group")]})
            s.call("no groups", "OffsetFetch", version, {"groups": []})
        for version in (9, 10):
            s.fetch_offsets("a member", "of-group", {"of-a": [0]}, version=version, memberId="m", memberEpoch=1)


def test_offsets_survive(env):
    """Offsets outlive a stop, a kill, and their topic's deletion takes them away."""
    with Groups(env, "offsets_survive", config={}) as s:
        s.create("os-a", "os-b", partitions=2)
        s.wait_coordinator("os-group")
        s.commit("commit", "os-group", {("os-a", 0): 1, ("os-b", 1): 20})
        s.commit("again", "os-group", {("os-a", 0): 2})
        for how in ("stop", "kill"):
            s.close()
            getattr(s.broker, how)()
            s.broker.start()
            s.wait_coordinator("os-group")
            s.fetch_offsets(f"after a {how}", "os-group", None)
            s.commit(f"after a {how}", "os-group", {("os-a", 1): 7})
        s.ask("DeleteTopics", 6, {"topics": [{"name": "os-a", "topicId": "AAAAAAAAAAAAAAAAAAAAAA"}], "timeoutMs": 15000})
        for _ in range(50):
            answer = s.ask("OffsetFetch", 7, {"groupId": "os-group", "topics": None})
            if len(answer["topics"]) < 2:
                break
            time.sleep(0.1)
        s.fetch_offsets("a topic is gone", "os-group", None)
