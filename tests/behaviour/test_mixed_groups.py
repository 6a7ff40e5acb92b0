"""Groups with members of both protocols, and groups that change from one kind to the other, under each policy."""

import base64
import time

import test_consumer_groups
from test_consumer_groups import owned_of
from test_groups import Subscribers

INCONSISTENT_GROUP_PROTOCOL = 23
# Of these subscriptions Apache Kafka says UNKNOWN_SERVER_ERROR and writes a stack trace.
BROKEN = ("no subscription", "half of one", "a version below")


def text(value):
    return len(value).to_bytes(2, "big") + value.encode()


def subscription(*topics, owned=(), generation=-1, version=3, user_data=None, rack=None):
    """What a consumer of the classic protocol says when it joins."""
    raw = version.to_bytes(2, "big") + len(topics).to_bytes(4, "big") + b"".join(map(text, topics))
    raw += (-1).to_bytes(4, "big", signed=True) if user_data is None else len(user_data).to_bytes(4, "big") + user_data
    if version >= 1:
        raw += len(owned).to_bytes(4, "big")
        for topic, partitions in owned:
            raw += text(topic) + len(partitions).to_bytes(4, "big") + b"".join(p.to_bytes(4, "big") for p in partitions)
    if version >= 2:
        raw += generation.to_bytes(4, "big", signed=True)
    if version >= 3:
        raw += b"\xff\xff" if rack is None else text(rack)
    return raw


def assignment(user_data=None, **topics):
    """What a leader gives a member."""
    raw = (0).to_bytes(2, "big") + len(topics).to_bytes(4, "big")
    for topic, partitions in topics.items():
        raw += text(topic.replace("_", "-")) + len(partitions).to_bytes(4, "big") + b"".join(p.to_bytes(4, "big") for p in partitions)
    return raw + ((-1).to_bytes(4, "big", signed=True) if user_data is None else len(user_data).to_bytes(4, "big") + user_data)


def assigned(raw):
    """The partitions by topic of what a member was given."""
    raw, topics, at = base64.b64decode(raw), {}, 6
    if not raw:
        return topics

    def number(size):
        nonlocal at
        at += size
        return int.from_bytes(raw[at - size:at], "big")

    for _ in range(int.from_bytes(raw[2:6], "big")):
        size = number(2)
        name = raw[at:at + size].decode()
        at += size
        topics[name] = [number(4) for _ in range(number(4))]
    return topics


def counted(value):
    """Who has how many: which ones is chance, since it hangs on ids that the broker makes."""
    if isinstance(value, list):
        return [counted(v) for v in value]
    if not isinstance(value, dict):
        return value
    out = {}
    for key, inner in value.items():
        if key == "partitions" and isinstance(inner, list):
            out[key] = len(inner)
        elif key in ("memberAssignment", "assignment") and isinstance(inner, str):
            out[key] = {t: len(p) for t, p in assigned(inner).items()}
        elif key == "memberMetadata":
            out[key] = len(base64.b64decode(inner))
        else:
            out[key] = counted(inner)
    return out


class Mixed(Subscribers):
    """Members of the classic protocol by name; each has a connection, and what it said and heard last is known."""

    def __init__(self, env, name, **config):
        super().__init__(env, name, config={"group.consumer.assignment.interval.ms": "0",
                                            **{k.replace("_", "."): str(v) for k, v in config.items()}})
        self.members = {}

    def write(self, step, answer):
        super().write(step, counted(answer))

    def mask_member(self, member_id):
        """Those that a broker made; the tests' own ids are short, and words of other things."""
        return super().mask_member(member_id) if member_id and len(member_id) > 20 else member_id

    # --- the classic protocol ---

    def send(self, name, group=None, topics=("mi-a",), protocol="range", owned=(), version=5, **more):
        member = self.members.setdefault(name, {"group": group, "id": "", "generation": -1})
        said = ((protocol, subscription(*topics, owned=owned, generation=member["generation"])),)
        self.send_join(member["group"], name, version, member=member["id"], **{"protocols": said, **more})

    def hear(self, step, name, version=5):
        answer = self.read("JoinGroup", version, name)
        self.mask_member(answer.get("memberId"))
        if answer.get("memberId"):
            self.members[name]["id"] = answer["memberId"]
        if answer.get("errorCode") == 0:
            self.members[name]["generation"] = answer["generationId"]
            self.members[name]["leads"] = answer["leader"] == answer["memberId"]
        if answer.get("members"):
            answer["members"] = len(answer["members"])
        if answer.get("leader"):
            answer["leader"] = "is"
        if step:
            self.write(f"{step} (JoinGroup v{version})", {**answer, "protocolName": answer.get("protocolName")})
        return answer

    def joins(self, step, name, group=None, version=5, **more):
        self.send(name, group, version=version, **more)
        return self.hear(step, name, version)

    def joins_in_vain(self, step, name, version=5, **more):
        """No answer comes while another member has not joined again."""
        self.connection(name).socket.settimeout(3)
        assert "noAnswer" in self.joins(step, name, version=version, **more)

    def syncs(self, step, name, version=3, generation=None, **more):
        member = self.members[name]
        answer = self.sync(step, member["group"], member["id"], generation or member["generation"], name, version, **more)
        return assigned(answer.get("assignment") or "")

    def beats(self, step, name, **more):
        member = self.members[name]
        return self.heartbeat(step, member["group"], member["id"], member["generation"], on=name, **more)

    def commits(self, step, name, offsets, later=0, **more):
        member = self.members[name]
        return self.commit(step, member["group"], offsets, generation=member["generation"] + later, member=member["id"], **more)

    def leaves(self, step, *names, group=None, version=4):
        members = [self.members[n] for n in names]
        return self.call(step, "LeaveGroup", version, {"groupId": group or members[0]["group"],
                                                       "members": [{"memberId": m["id"]} for m in members]})

    def gives_back(self, step, name, has):
        """A member that was told to: it joins with what it has, hears what it keeps, and joins with that."""
        self.joins(f"{step}: joins", name, owned=has.items())
        keeps = self.syncs(f"{step}: syncs", name)
        self.beats(f"{step}: beats", name)
        self.joins(f"{step}: joins with less", name, owned=keeps.items())
        keeps = self.syncs(f"{step}: syncs again", name)
        self.beats(f"{step}: beats again", name)
        return keeps

    def stable(self, group, first, second=None, protocol="range", partitions=4, **more):
        """A classic group of one or two, and what they were given."""
        self.joins("a classic member", first, group, version=5 if more else 3, protocol=protocol, **more)
        shares = {first: {"mi-a": list(range(partitions))}}
        if second:
            self.syncs("syncs", first, assignments=[(self.members[first]["id"], b"")])
            self.send(second, group, version=3, protocol=protocol, **more)
            time.sleep(0.3)
            self.joins("and again", first, protocol=protocol, **more)
            self.hear("a second", second, version=3)
            half = partitions // 2
            shares = {first: {"mi-a": list(range(half))}, second: {"mi-a": list(range(half, partitions))}}
        self.syncs("the leader syncs", first, assignments=[(self.members[n]["id"], assignment(mi_a=shares[n]["mi-a"])) for n in shares])
        if second:
            self.syncs("the second syncs", second)
        return shares

    # --- the consumer protocol ---

    beat = test_consumer_groups.Members.beat
    join = test_consumer_groups.Members.join

    def look(self, step, *groups):
        """By both protocols' descriptions, and in the list."""
        self.describe(f"{step}, as a classic group", *groups, version=6)
        answer = test_consumer_groups.ordered(self.ask("ConsumerGroupDescribe", 1, {"groupIds": list(groups)}))
        for group in answer["groups"]:
            for member in group["members"]:
                self.mask_member(member["memberId"])
            group["members"].sort(key=lambda m: self.masks.text(m["memberId"]))
        self.write(f"{step}, as a consumer group (ConsumerGroupDescribe v1)", answer)
        answer = self.ask("ListGroups", 5, {})
        self.write(f"{step}, in the list (ListGroups v5)", [g for g in sorted(answer["groups"], key=lambda g: g["groupId"])
                                                            if g["groupId"] in groups])


def test_change_of_protocol(env):
    """A group is upgraded member by member, and comes back when the last of the new protocol goes."""
    with Mixed(env, "mixed_groups") as s:
        s.create("mi-a", partitions=6)
        s.create("mi-b")
        group = "mi-g"
        s.wait_coordinator(group)
        has = s.stable(group, "c1", "c2", partitions=6)
        s.commits("commits", "c1", {("mi-a", 0): 1})
        s.look("two classic members", group)
        answer = s.join("a consumer member", group, "m", ["mi-a"], soon=True)
        epoch = answer["memberEpoch"]
        s.look("upgraded", group)
        s.beats("is told", "c1")
        s.commits("commits all the same", "c1", {("mi-a", 0): 2})
        s.commits("commits too early", "c1", {("mi-a", 0): 3}, later=1)
        s.commits("commits late", "c1", {("mi-a", 0): 3}, later=-1)
        s.syncs("syncs before it joins", "c1")
        has["c1"] = s.gives_back("the first", "c1", has["c1"])
        s.look("one has joined", group)
        has["c2"] = s.gives_back("the second", "c2", has["c2"])
        answer = s.ask("ConsumerGroupHeartbeat", 1, {"groupId": group, "memberId": "m", "memberEpoch": epoch})
        s.write("the consumer member has its share", [len(t["partitions"]) for t in owned_of(answer)])
        s.beat("and says so", group, "m", answer["memberEpoch"], topicPartitions=owned_of(answer))
        s.look("stable", group)
        for name in ("c1", "c2"):
            s.beats("nothing to do", name)
            s.commits("commits what it has", name, {("mi-a", p): 4 for p in has[name]["mi-a"]})
        epoch, me = answer["memberEpoch"], s.members["c1"]
        s.commit("commits by the consumer protocol", group, {("mi-a", p): 5 for p in owned_of(answer)[0]["partitions"]}, version=9,
                 generation=epoch, member="m")
        s.commit("in an old version", group, {("mi-a", 0): 6}, version=8, generation=epoch, member="m")
        s.fetch_offsets("a classic member reads", group, {"mi-a": list(range(6))}, version=9, memberId=me["id"],
                        memberEpoch=me["generation"])
        # Members that speak the other's protocol, and other bad requests.
        s.heartbeat("the consumer member beats by the classic protocol", group, "m", epoch)
        s.sync("and syncs by it", group, "m", epoch)
        s.beat("a classic member beats by the consumer protocol", group, me["id"], me["generation"])
        s.heartbeat("a stranger", group, "nobody", epoch)
        s.heartbeat("an old generation", group, me["id"], me["generation"] - 1)
        s.heartbeat("a later generation", group, me["id"], me["generation"] + 1)
        s.heartbeat("an instance", group, me["id"], me["generation"], groupInstanceId="i")
        for version, more in ((3, {}), (5, {"protocolType": "consumer", "protocolName": "range"}),
                              (5, {"protocolType": "connect", "protocolName": "range"}),
                              (5, {"protocolType": "consumer", "protocolName": "roundrobin"})):
            s.syncs(f"syncs with {more}", "c1", version, **more)
        s.syncs("syncs an old generation", "c1", generation=me["generation"] - 1)
        s.call("leaves: others", "LeaveGroup", 4, {"groupId": group, "members": [
            {"memberId": "nobody"}, {"memberId": "", "groupInstanceId": "i"}, {"memberId": ""}]})
        said = subscription("mi-a")
        for step, more in (("no protocols", {"protocols": ()}), ("another type", {"protocol_type": "connect"}),
                           ("no type", {"protocol_type": ""}), ("no common protocol", {"protocols": (("sticky", said),)}),
                           ("no subscription", {"protocols": (("range", b""),)}), ("half of one", {"protocols": (("range", said[:5]),)}),
                           ("a version to come", {"protocols": (("range", b"\x00\x09" + said[2:]),)}),
                           ("a version below", {"protocols": (("range", b"\xff\xff" + said[2:]),)}),
                           ("session too short", {"session_ms": 10}), ("a stranger", {"member": "nobody"}),
                           ("an instance that is not known", {"member": "nobody", "groupInstanceId": "i", "version": 5})):
            more = {"protocols": (("range", said),), "version": 3, **more}
            if step in BROKEN:
                s.exceptions.argue(f"joins: {step} (JoinGroup v3)", "a bad subscription is no accident of the broker's",
                                   **{".errorCode": INCONSISTENT_GROUP_PROTOCOL})
            joined = Subscribers.join(s, f"joins: {step}", group, "other", **more)
            if joined.get("errorCode") == 0:
                s.call("and leaves", "LeaveGroup", 4, {"groupId": group, "members": [{"memberId": joined["memberId"]}]})
        for name in ("c1", "c2"):
            s.joins("after all that", name, owned=has[name].items())
            s.syncs("syncs", name)
        # One more comes, by the classic protocol, and goes.
        s.joins("a third, first", "c3", group)
        s.joins("a third", "c3")
        s.syncs("syncs", "c3")
        s.beats("waits", "c3")
        s.leaves("leaves", "c3")
        s.leaves("leaves again", "c3")
        s.joins("wants more topics", "c1", topics=("mi-b", "mi-a"), owned=has["c1"].items())
        s.beat("the last consumer member leaves", group, "m", -1)
        s.look("downgraded", group)
        s.beats("is told", "c2")
        s.send("c1", topics=("mi-a",))
        time.sleep(0.3)
        s.send("c2")
        time.sleep(0.3)
        # Who leads is chance.
        answers = {name: s.hear(None, name) for name in ("c1", "c2")}
        leader, other = sorted(answers, key=lambda name: not s.members[name]["leads"])
        for name in (leader, other):
            s.write("joins", {**answers[name], "memberId": "one of them"})
        s.look("joined", group)
        s.syncs("the leader syncs", leader, assignments=[(s.members[n]["id"], assignment(mi_a=[i])) for i, n in enumerate(("c1", "c2"))])
        s.syncs("and the other", other)
        s.look("classic again", group)
        s.leaves("both leave", "c1", "c2")
        s.look("empty", group)
        s.join("a consumer member joins the empty group", group, "m", ["mi-a"])
        s.look("a consumer group again", group)
        s.beat("leaves", group, "m", -1)
        s.look("empty again", group)
        s.joins("a classic member joins the empty group", "c4", group, version=3)
        s.look("a classic group again", group)


def policy(env, policy):
    """What may become what under a value of group.consumer.migration.policy."""
    with Mixed(env, f"mixed_{policy}", group_consumer_migration_policy=policy) as s:
        s.create("mi-a", partitions=4)
        s.wait_coordinator("mi-up", "mi-down", "mi-empty")
        s.stable("mi-up", "c1")
        s.join("a consumer member joins a classic group", "mi-up", "m", ["mi-a"], soon=policy in ("upgrade", "bidirectional"))
        s.look("after it", "mi-up")
        s.beats("the classic member", "c1")
        answer = s.join("a consumer group", "mi-down", "m", ["mi-a"])
        s.joins("a classic member joins a consumer group, first", "c2", "mi-down")
        s.joins("a classic member joins a consumer group", "c2")
        s.look("after it", "mi-down")
        s.beat("the consumer member", "mi-down", "m", answer["memberEpoch"],
               soon=policy != "disabled", topicPartitions=owned_of(answer))
        s.beat("the consumer member leaves", "mi-down", "m", -1)
        s.look("after that", "mi-down")
        s.joins("the classic member joins again", "c2")
        s.look("and now", "mi-down")
        s.beat("the consumer member leaves that was a classic group's", "mi-up", "m", -1)
        s.look("after that", "mi-up")
        # Nobody is in them: either kind may take them.
        s.join("an empty group", "mi-empty", "m", ["mi-a"])
        s.beat("is left", "mi-empty", "m", -1)
        s.joins("by the classic protocol", "c3", "mi-empty", version=3)
        s.leaves("is left", "c3")
        s.join("by the consumer protocol", "mi-empty", "n", ["mi-a"])
        s.look("after that", "mi-empty")


def test_policy_disabled(env):
    policy(env, "disabled")


def test_policy_upgrade(env):
    policy(env, "upgrade")


def test_policy_downgrade(env):
    policy(env, "downgrade")


def test_policy_bidirectional(env):
    policy(env, "bidirectional")


def sizes(env, classic, consumer):
    """Groups that are too large for the one kind, or the other."""
    with Mixed(env, f"mixed_sizes_{classic}_{consumer}", group_max_size=classic, group_consumer_max_size=consumer) as s:
        s.create("mi-a", partitions=6)
        s.wait_coordinator("mi-up", "mi-down", "mi-classic")
        s.stable("mi-up", "c1", partitions=6)
        s.joins("a second classic member", "c2", "mi-classic", version=3)
        s.syncs("syncs", "c2", assignments=[(s.members["c2"]["id"], assignment(mi_a=[0]))])
        s.look("two groups", "mi-up", "mi-classic")
        if classic == 1:
            s.joins("one too many in a classic group", "c3", "mi-classic", version=3)
        s.join("the consumer protocol", "mi-up", "m", ["mi-a"], soon=True)
        s.joins("another classic member", "c4", "mi-up", version=3)
        s.joins("and another", "c5", "mi-up", version=3)
        s.join("and one of the consumer protocol", "mi-up", "n", ["mi-a"])
        s.look("full", "mi-up")
        s.beat("the consumer member leaves", "mi-up", "m", -1)
        s.look("too large or not", "mi-up")
        s.joins("the first joins again", "c1", owned=())
        s.beats("beats", "c4")
        s.leaves("the other leaves", "c4")
        s.look("small enough", "mi-up")


def test_size_of_classic_groups(env):
    sizes(env, 1, 3)


def test_size_of_consumer_groups(env):
    sizes(env, 3, 2)


def test_static(env):
    """Static members that change their protocol under their instance id."""
    with Mixed(env, "mixed_static") as s:
        s.create("mi-a", partitions=4)
        s.wait_coordinator("mi-s")
        group, me = "mi-s", {"groupInstanceId": "i"}
        s.stable(group, "c1", **me)
        old = dict(s.members["c1"])
        s.look("a static classic member", group)
        answer = s.join("its next self by the consumer protocol", group, "m", ["mi-a"], instanceId="i")
        s.look("replaced", group)
        s.heartbeat("its former self", group, old["id"], old["generation"], **me)
        s.heartbeat("without its instance", group, old["id"], old["generation"])
        s.beat("says what it has", group, "m", answer["memberEpoch"], instanceId="i", topicPartitions=owned_of(answer))
        s.joins("another classic member", "c2", group, version=3)
        s.look("two", group)
        s.joins("the instance by the classic protocol while it is there", "c3", group, version=5, **me)
        s.look("who is it", group)
        s.beat("the consumer member", group, "m", answer["memberEpoch"], instanceId="i")
        s.joins_in_vain("its next self by the classic protocol", "c3", **me)
        s.beats("the other", "c2")
        s.look("and now", group)


def test_feature_off(env):
    """The consumer protocol is off by the feature level of groups: before a member came, and while one is there."""
    with Mixed(env, "consumer_protocol_off") as s:
        s.create("mi-a", partitions=4)
        s.wait_coordinator("mi-on", "mi-off", "mi-up")

        def level(value):
            s.call(f"group.version {value}", "UpdateFeatures", 1, {"timeoutMs": 5000, "validateOnly": False, "featureUpdates": [
                {"feature": "group.version", "maxVersionLevel": value, "upgradeType": 1 if value else 2}]})
            time.sleep(1)

        answer = s.join("a member", "mi-on", "m", ["mi-a"])
        epoch = answer["memberEpoch"]
        level(0)
        s.call("features", "ApiVersions", 4, {"clientSoftwareName": "t", "clientSoftwareVersion": "1"}, keep=lambda a: {
            "apis": [k for k in a["apiKeys"] if k["apiKey"] in (68, 69)],
            "levels": [f for f in a["finalizedFeatures"] if f["name"] == "group.version"]})
        for version in (0, 1):
            s.beat("the member", "mi-on", "m", epoch, version)
            s.beat("leaves", "mi-on", "m", -1, version)
            s.join("a new group", "mi-off", "m", ["mi-a"], version)
            s.join("a bad request", "", "m", ["mi-a"], version)
            s.call("described", "ConsumerGroupDescribe", version, {"groupIds": ["mi-on", "mi-off", ""]})
            s.call("nothing described", "ConsumerGroupDescribe", version, {"groupIds": []})
        s.look("as they are", "mi-on", "mi-off")
        s.commit("commits", "mi-on", {("mi-a", 0): 1}, version=9, generation=epoch, member="m")
        s.stable("mi-up", "c1")
        s.join("joins a classic group", "mi-up", "m", ["mi-a"])
        s.joins("a classic member joins the consumer group", "c2", "mi-on", version=3)
        s.look("at last", "mi-on", "mi-up")
        s.call("deleted", "DeleteGroups", 2, {"groupsNames": ["mi-on"]})
        level(1)
        s.beat("the member again", "mi-on", "m", epoch, soon=True)
        s.look("on again", "mi-on", "mi-up")
