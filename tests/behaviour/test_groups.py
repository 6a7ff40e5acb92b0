"""The classic group protocol: joins, syncs, heartbeats, leaves; groups described, listed and deleted."""

import base64
import time

from scenario import framed, codec
from test_offsets import Groups

SESSION_MS = 30_000


def bytes_of(text):
    return base64.b64encode(text.encode()).decode()


class Members(Groups):
    """Members are named in transcripts by the order of their coming."""

    def __init__(self, env, name, **more):
        super().__init__(env, name, **more)
        self.member_ids = {}

    def mask_member(self, member_id):
        if member_id:
            self.masks.name("member", member_id)
        return member_id

    def join_body(self, group, member="", protocols=(("range", "m"),), session_ms=SESSION_MS, rebalance_ms=60_000,
                  protocol_type="consumer", version=5, **more):
        body = {"groupId": group, "sessionTimeoutMs": session_ms, "memberId": member, "protocolType": protocol_type,
                "protocols": [{"name": n, "metadata": self.data(m)} for n, m in protocols], **more}
        if version >= 1:
            body["rebalanceTimeoutMs"] = rebalance_ms
        return body

    def data(self, text):
        return bytes_of(text)

    def send_join(self, group, on, version=5, **more):
        self.connection(on).send(framed(codec().encode("JoinGroup", version,
                                                       self.join_body(group, version=version, **more))))

    def note(self, step, api, version, answer):
        """Writes an answer down with its members named and in order."""
        for key in ("memberId", "leader"):
            self.mask_member(answer.get(key))
        if answer.get("members"):
            answer["members"].sort(key=lambda m: m["memberId"])
            answer["members"].sort(key=lambda m: m.get("metadata", ""))
        self.write(f"{step} ({api} v{version})", answer)
        return answer

    def read_join(self, step, on, version=5):
        return self.note(step, "JoinGroup", version, self.read("JoinGroup", version, on))

    def join(self, step, group, on="main", version=5, **more):
        self.send_join(group, on, version, **more)
        return self.read_join(step, on, version)

    def join_new(self, step, group, on, version=5, **more):
        """With the id that the first answer gives."""
        answer = self.join(f"{step}, first", group, on, version, **more)
        if answer.get("errorCode") == 79:
            answer = self.join(step, group, on, version, member=answer["memberId"], **more)
        return answer

    def sync(self, step, group, member, generation, on="main", version=3, assignments=(), **more):
        body = {"groupId": group, "generationId": generation, "memberId": member, **more,
                "assignments": [{"memberId": m, "assignment": self.data(a)} for m, a in assignments]}
        return self.call(step, "SyncGroup", version, body, on)

    def heartbeat(self, step, group, member, generation, version=3, on="main", **more):
        return self.call(step, "Heartbeat", version,
                         {"groupId": group, "generationId": generation, "memberId": member, **more}, on)

    def describe(self, step, *groups, version=5, **more):
        answer = self.ask("DescribeGroups", version, {"groups": list(groups), **more})
        for group in answer.get("groups", []):
            for member in group["members"]:
                self.mask_member(member["memberId"])
            group["members"].sort(key=lambda m: self.masks.text(m["memberId"]))
        answer.get("groups", []).sort(key=lambda g: g["groupId"])
        self.write(f"{step} (DescribeGroups v{version})", answer)
        return answer

    def stable_one(self, group, on="main", **more):
        """A group of one member, stable; its id and generation."""
        joined = self.join_new("join", group, on, **more)
        self.sync("sync", group, joined["memberId"], joined["generationId"], on,
                  assignments=[(joined["memberId"], "assigned")])
        return joined["memberId"], joined["generationId"]


def test_join_versions(env):
    with Members(env, "join_versions") as s:
        for version in range(0, 10):
            group = f"jv-{version}"
            s.wait_coordinator(group)
            joined = s.join_new("join", group, "main", version)
            named = {"protocolType": "consumer", "protocolName": "range"} if version >= 5 else {}
            s.sync("sync without its names", group, joined["memberId"], joined["generationId"], version=min(version, 5),
                   assignments=[(joined["memberId"], "assigned")])
            s.sync("sync", group, joined["memberId"], joined["generationId"],
                   version=min(version, 5), assignments=[(joined["memberId"], "assigned")], **named)
            s.heartbeat("heartbeat", group, joined["memberId"], joined["generationId"], version=min(version, 4))
            s.describe("describe", group, version=min(version, 6))
            s.commit("commit", group, {}, generation=joined["generationId"], member=joined["memberId"])
            leave = {"groupId": group}
            if version >= 3:
                leave["members"] = [{"memberId": joined["memberId"]}]
            else:
                leave["memberId"] = joined["memberId"]
            s.call("leave", "LeaveGroup", min(version, 5), leave)
            s.describe("describe after it", group, version=min(version, 6))
            s.call("leave again", "LeaveGroup", min(version, 5), leave)
            s.call("leave a group that is not there", "LeaveGroup", min(version, 5), {**leave, "groupId": "jv-none"})


def test_bad_joins(env):
    with Members(env, "bad_joins") as s:
        s.wait_coordinator("bj-group", "bj-none", "bj-static", "bj-other")
        for version in (3, 9):
            s.join("no group", "", version=version)
            s.join("an unknown member", "bj-none", member="nobody", version=version)
            s.join("session too short", "bj-none", session_ms=100, version=version)
            s.join("session too long", "bj-none", session_ms=1_800_001, version=version)
            s.join("no protocol type", "bj-none", protocol_type="", version=version)
            s.join("no protocols", "bj-none", protocols=(), version=version)
        member, generation = s.stable_one("bj-group", protocols=(("range", "a"), ("roundrobin", "b")))
        s.join("another type", "bj-group", "other", protocol_type="connect")
        s.join("no common protocol", "bj-group", "other", protocols=(("sticky", "m"),))
        s.join("the member by another type", "bj-group", "other", member=member, protocol_type="connect")
        s.join("an unknown member", "bj-group", "other", member="nobody")
        s.join("an instance that is not known", "bj-group", "other", member=member, groupInstanceId="i")
        s.describe("still stable", "bj-group")
        for name, group, who, gen in (
                ("no group", "", member, generation), ("an unknown group", "bj-none", member, generation),
                ("an unknown member", "bj-group", "nobody", generation), ("an old generation", "bj-group", member, generation - 1),
                ("a later generation", "bj-group", member, generation + 1), ("no generation", "bj-group", member, -1),
                ("no member", "bj-group", "", generation)):
            s.heartbeat(f"heartbeat: {name}", group, who, gen)
            s.sync(f"sync: {name}", group, who, gen)
            s.commit(f"commit: {name}", group or "bj-other", {}, generation=gen, member=who)
        s.heartbeat("heartbeat: an instance", "bj-group", member, generation, groupInstanceId="i")
        s.sync("sync: another protocol", "bj-group", member, generation, version=5, protocolType="consumer",
               protocolName="roundrobin")
        s.sync("sync: another type", "bj-group", member, generation, version=5, protocolType="connect",
               protocolName="range")
        s.sync("sync: as it is", "bj-group", member, generation, version=5, protocolType="consumer",
               protocolName="range")
        s.call("leave: no group", "LeaveGroup", 4, {"groupId": "", "members": [{"memberId": member}]})
        s.call("leave: unknown", "LeaveGroup", 4, {"groupId": "bj-group", "members": [
            {"memberId": "nobody"}, {"memberId": "", "groupInstanceId": "i"}, {"memberId": ""},
            {"memberId": member, "groupInstanceId": "i"}]})
        s.call("leave: nobody", "LeaveGroup", 4, {"groupId": "bj-group", "members": []})
        s.heartbeat("still there", "bj-group", member, generation)


def test_rebalance(env):
    """Two members come and go; each step's answers, and what a heartbeat says in between."""
    with Members(env, "rebalance") as s:
        s.create("rb-a")
        s.wait_coordinator("rb")
        first, generation = s.stable_one("rb", "one", protocols=(("range", "1a"), ("roundrobin", "1b")))
        s.heartbeat("stable", "rb", first, generation, on="one")
        s.commit("commit", "rb", {("rb-a", 0): 5}, generation=generation, member=first)
        given = s.join("a second comes", "rb", "two", protocols=(("roundrobin", "2a"), ("range", "2b")))
        s.heartbeat("not yet", "rb", first, generation, on="one")
        s.send_join("rb", "two", member=given["memberId"], protocols=(("roundrobin", "2a"), ("range", "2b")))
        s.settle()
        time.sleep(0.2)
        s.heartbeat("now", "rb", first, generation, on="one")
        s.commit("commit while preparing", "rb", {("rb-a", 0): 6}, generation=generation, member=first)
        s.sync("sync while preparing", "rb", first, generation, "one")
        s.describe("preparing", "rb")
        joined = s.join("the first again", "rb", "one", member=first, protocols=(("range", "1a"), ("roundrobin", "1b")))
        second = s.read_join("the second", "two")["memberId"]
        generation = joined["generationId"]
        s.heartbeat("completing", "rb", first, generation, on="one")
        s.commit("commit while completing", "rb", {("rb-a", 0): 7}, generation=generation, member=first)
        s.describe("completing", "rb")
        s.connection("two").send(framed(codec().encode("SyncGroup", 3, {
            "groupId": "rb", "generationId": generation, "memberId": second, "assignments": []})))
        time.sleep(0.2)
        s.sync("the leader's sync", "rb", first, generation, "one",
               assignments=[(first, "for one"), (second, "for two"), ("nobody", "for nobody")])
        s.write("the second's sync (SyncGroup v3)", s.read("SyncGroup", 3, "two"))
        s.describe("stable", "rb")
        s.join("the second joins unchanged", "rb", "two", member=second,
               protocols=(("roundrobin", "2a"), ("range", "2b")))
        s.sync("and syncs", "rb", second, generation, "two")
        s.heartbeat("nothing happened", "rb", first, generation, on="one")
        s.send_join("rb", "two", member=second, protocols=(("roundrobin", "2c"), ("range", "2d")))
        time.sleep(0.2)
        s.heartbeat("something did", "rb", first, generation, on="one")
        s.call("the first leaves", "LeaveGroup", 4, {"groupId": "rb", "members": [{"memberId": first}]})
        joined = s.read_join("the second leads", "two")
        s.sync("a sync without assignment", "rb", second, joined["generationId"], "two")
        s.call("the second leaves", "LeaveGroup", 4, {"groupId": "rb", "members": [{"memberId": second}]})
        s.describe("empty", "rb")
        s.commit("commit to the empty group", "rb", {("rb-a", 0): 9})
        s.fetch_offsets("offsets", "rb", None)


def test_static_members(env):
    with Members(env, "static_members") as s:
        s.wait_coordinator("sm")
        first = s.join("an instance", "sm", "one", groupInstanceId="i1", protocols=(("range", "1"),))
        member, generation = first["memberId"], first["generationId"]
        s.sync("sync", "sm", member, generation, "one", assignments=[(member, "a1")], groupInstanceId="i1")
        s.heartbeat("heartbeat", "sm", member, generation, on="one", groupInstanceId="i1")
        for version in (5, 9):
            again = s.join("it starts again", "sm", "one", version, groupInstanceId="i1", protocols=(("range", "1"),))
            s.heartbeat("the old one is fenced", "sm", member, generation, groupInstanceId="i1")
            s.heartbeat("without its instance", "sm", member, generation)
            s.commit("its commit", "sm", {}, generation=generation, member=member, groupInstanceId="i1")
            s.sync("its sync", "sm", member, generation, groupInstanceId="i1")
            s.join("its join", "sm", "other", member=member, groupInstanceId="i1")
            s.call("its leave", "LeaveGroup", 4, {"groupId": "sm", "members": [
                {"memberId": member, "groupInstanceId": "i1"}]})
            member = again["memberId"]
            s.sync("its assignment is as it was", "sm", member, generation, "one", groupInstanceId="i1")
            s.describe("describe", "sm")
        changed = s.join("it can something else", "sm", "one", groupInstanceId="i1", protocols=(("range", "2"),),
                         member=member)
        generation = changed["generationId"]
        s.sync("sync", "sm", member, generation, "one", assignments=[(member, "a2")], groupInstanceId="i1")
        s.call("an administrator removes it", "LeaveGroup", 4, {"groupId": "sm", "members": [
            {"memberId": "", "groupInstanceId": "i1"}]})
        s.heartbeat("it is gone", "sm", member, generation, groupInstanceId="i1")
        s.describe("empty", "sm")


def test_sessions(env):
    """A member that is not heard of is removed; one that waits for the others is not."""
    config = {"group.min.session.timeout.ms": "100"}
    with Members(env, "sessions", config=config) as s:
        s.wait_coordinator("se", "se-pending", "se-sync")
        member, generation = s.stable_one("se", session_ms=1500)
        for i in range(4):
            time.sleep(0.5)
            s.heartbeat(f"kept alive, {i}", "se", member, generation)
        time.sleep(2.5)
        s.heartbeat("too late", "se", member, generation)
        s.describe("empty", "se")
        given = s.join("an id is given", "se-pending", session_ms=500)
        time.sleep(1)
        s.join("too late", "se-pending", member=given["memberId"], session_ms=500)
        first = s.join_new("one", "se-sync", "one", rebalance_ms=1500)
        time.sleep(2.5)
        s.heartbeat("it did not sync", "se-sync", first["memberId"], first["generationId"])
        s.describe("empty", "se-sync")


def test_list_groups(env):
    with Members(env, "list_groups", config={}) as s:
        s.create("lg-a")
        for version in range(0, 6):
            s.call("no groups", "ListGroups", version, {})
        s.wait_coordinator("lg-stable", "lg-empty", "lg-offsets")
        s.stable_one("lg-stable")
        member, _ = s.stable_one("lg-empty", protocol_type="other")
        s.call("leave", "LeaveGroup", 4, {"groupId": "lg-empty", "members": [{"memberId": member}]})
        s.commit("commit", "lg-offsets", {("lg-a", 0): 5})

        def in_order(answer):
            answer["groups"].sort(key=lambda g: g["groupId"])
            return answer
        for version in range(0, 6):
            s.call("three", "ListGroups", version, {}, keep=in_order)
        for states in (["Stable"], ["empty"], ["STABLE", "Empty"], ["Dead"], ["Unknown"], ["nonsense"], [""]):
            for version in (4, 5):
                s.call(f"in state {states}", "ListGroups", version, {"statesFilter": states}, keep=in_order)
        for types in (["classic"], ["Classic", "consumer"], ["consumer"], ["nonsense"], ["unknown"]):
            s.call(f"of type {types}", "ListGroups", 5, {"typesFilter": types}, keep=in_order)
        s.call("of both", "ListGroups", 5, {"typesFilter": ["classic"], "statesFilter": ["Stable"]}, keep=in_order)


def test_describe_groups(env):
    with Members(env, "describe_groups") as s:
        s.create("dg-a")
        s.wait_coordinator("dg-stable", "dg-offsets", "dg-none", "")
        s.stable_one("dg-stable")
        s.commit("commit", "dg-offsets", {("dg-a", 0): 5})
        for version in range(0, 7):
            s.describe("some", "dg-stable", "dg-offsets", "dg-none", version=version)
            s.describe("none", version=version)
            s.describe("an empty name", "", version=version)
            s.describe("twice", "dg-none", "dg-none", version=version)
            if version >= 3:
                s.describe("rights", "dg-stable", "dg-none", version=version, includeAuthorizedOperations=True)


def test_delete_groups(env):
    with Members(env, "delete_groups") as s:
        s.create("de-a")
        s.wait_coordinator("de-stable", "de-none", "", *(f"de-{v}" for v in range(3)))
        s.stable_one("de-stable")
        for version in range(3):
            s.commit("commit", f"de-{version}", {("de-a", 0): 5})
            s.call("some", "DeleteGroups", version, {"groupsNames": ["de-stable", f"de-{version}", "de-none", ""]},
                   keep=lambda a: {**a, "results": {r["groupId"]: r["errorCode"] for r in a["results"]}})
            s.describe("it is gone", f"de-{version}", version=6)
            s.fetch_offsets("and its offsets", f"de-{version}", None)
            s.call("again", "DeleteGroups", version, {"groupsNames": [f"de-{version}"]})
            s.call("nothing", "DeleteGroups", version, {"groupsNames": []})


def subscription(*topics):
    """Version 0 of the consumer protocol's subscription, in the codec's base64."""
    raw = (0).to_bytes(2, "big") + len(topics).to_bytes(4, "big")
    for topic in topics:
        raw += len(topic).to_bytes(2, "big") + topic.encode()
    return raw + (-1).to_bytes(4, "big", signed=True)


class Subscribers(Members):
    def data(self, text):
        return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def test_offset_delete(env):
    with Subscribers(env, "offset_delete") as s:
        s.create("od-a", "od-b", partitions=2)
        s.wait_coordinator("od", "od-none", "od-other", "od-live", "")

        def delete(step, group, **topics):
            return s.call(step, "OffsetDelete", 0, {"groupId": group, "topics": [
                {"name": n.replace("_", "-"), "partitions": [{"partitionIndex": i} for i in p]} for n, p in topics.items()]})
        s.commit("commit", "od", {("od-a", 0): 1, ("od-a", 1): 2, ("od-b", 0): 3})
        delete("nobody", "od-none", od_a=[0])
        delete("an empty name", "", od_a=[0])
        delete("one", "od", od_a=[0])
        delete("again", "od", od_a=[0])
        delete("a partition that is not there", "od", od_a=[7, 1])
        delete("a topic that is not there", "od", od_none=[0], od_b=[1])
        delete("nothing", "od")
        s.fetch_offsets("what is left", "od", None)
        s.stable_one("od-other", protocol_type="other")
        delete("of another kind of group", "od-other", od_a=[0])
        member, generation = s.stable_one("od-live", protocols=(("range", subscription("od-a")),))
        s.commit("commit", "od-live", {("od-a", 0): 1, ("od-b", 0): 3}, generation=generation, member=member)
        delete("subscribed", "od-live", od_a=[0], od_b=[0])
        s.fetch_offsets("what is left", "od-live", None)
