"""Group ids of every kind in every request that has one; and what is too large for a group's records."""

import base64

from lib.runner import timeout
from test_mixed_groups import Mixed, assignment, subscription

IDS = {
    "empty": "", "blank": " ", "tabs": "\t \n", "spaces inside": "a b", "a path": "../a/b", "dots": "..", "no ASCII": "ä€😀",
    "a zero byte": "a\0b", "a line": "a\nb", "a comma": "a,b", "quotes": "a\"'b", "an internal topic's": "__consumer_offsets",
    "as long as a topic's": "x" * 249, "longer": "y" * 1000, "as long as can be": "z" * 32767,
}


def named(value, group, name):
    """An answer without the id in it, which may be long."""
    if isinstance(value, dict):
        return {k: named(v, group, name) for k, v in value.items()}
    if isinstance(value, list):
        return [named(v, group, name) for v in value]
    return value.replace(group, f"<{name}>") if isinstance(value, str) and len(group) > 2 else value


@timeout(180)
def test_group_ids(env):
    with Mixed(env, "group_ids") as s:
        s.create("mi-a", partitions=2)
        s.wait_coordinator(*IDS.values())
        # Where a message would be longer than a string of the protocol may be, Apache Kafka fails to write it.
        long, cut = "as long as can be: ConsumerGroupDescribe v1", "the message is cut, and the code is the right one"
        s.exceptions.argue(long, cut, **{".groups[0].errorCode": 69, ".groups[0].errorMessage": f"Group {'z' * 1000} is not a consumer group."})
        s.exceptions.argue("a zero byte: ConsumerGroupDescribe v1", "a message ends at a zero byte",
                           **{".groups[0].errorMessage": "Group a is not a consumer group."})
        for name, group in IDS.items():
            def ask(api, version, body):
                answer = s.ask(api, version, body)
                s.mask_member(answer.get("memberId"))
                s.write(f"{name}: {api} v{version}", named(answer, group, name))
                return answer

            ask("FindCoordinator", 3, {"key": group, "keyType": 0})
            ask("FindCoordinator", 6, {"keyType": 0, "coordinatorKeys": [group]})
            ask("OffsetCommit", 8, s.commit_body(8, group, {("mi-a", 0): 1}))
            ask("OffsetCommit", 9, s.commit_body(9, group, {("mi-a", 0): 1}, generation=3, member="m"))
            ask("OffsetFetch", 7, {"groupId": group, "topics": None})
            ask("OffsetFetch", 9, {"groups": [{"groupId": group, "topics": None}]})
            ask("DescribeGroups", 6, {"groups": [group]})
            ask("ConsumerGroupDescribe", 1, {"groupIds": [group]})
            ask("OffsetDelete", 0, {"groupId": group, "topics": [{"name": "mi-a", "partitions": [{"partitionIndex": 0}]}]})
            ask("DeleteGroups", 2, {"groupsNames": [group]})
            body = s.join_body(group, version=3, protocols=(("range", subscription("mi-a")),))
            joined = ask("JoinGroup", 3, body)
            who = {"groupId": group, "memberId": joined["memberId"], "generationId": joined["generationId"]}
            ask("SyncGroup", 3, {**who, "assignments": [
                {"memberId": joined["memberId"], "assignment": base64.b64encode(assignment(mi_a=[0])).decode()}]})
            ask("Heartbeat", 3, who)
            ask("ListGroups", 4, {"statesFilter": ["Stable"]})
            ask("DeleteGroups", 2, {"groupsNames": [group]})
            ask("LeaveGroup", 4, {"groupId": group, "members": [{"memberId": joined["memberId"]}]})
            s.join(f"{name}: joins", group, "m", ["mi-a"], keep=lambda a: named(a, group, name))
            s.beat(f"{name}: leaves", group, "m", -1, keep=lambda a: named(a, group, name))
            ask("DeleteGroups", 2, {"groupsNames": [group]})
            ask("ListGroups", 5, {})


@timeout(180)
def test_oversized(env):
    """
    Assignments and subscriptions that make a record larger than a batch may be: an error, and no other state. (A member whose
    classic subscription is that large gets no answer from Apache Kafka.)
    """
    with Mixed(env, "oversized_groups", offsets_topic_segment_bytes=104857600) as s:
        s.create("mi-a", partitions=2)
        s.wait_coordinator("ov-sync", "ov-type", "ov-topics", "ov-up", "ov-beside", "ov-member")
        s.stable("ov-beside", "beside")
        mib = 1 << 20
        joined = s.ask("JoinGroup", 3, s.join_body("ov-sync", version=3))
        s.mask_member(joined["memberId"])
        s.sync("an assignment of 2 MiB", "ov-sync", joined["memberId"], joined["generationId"],
               assignments=[(joined["memberId"], b"a" * (2 * mib))])
        s.describe("after it", "ov-sync")
        s.heartbeat("its heartbeat", "ov-sync", joined["memberId"], joined["generationId"])
        s.sync("a small assignment", "ov-sync", joined["memberId"], joined["generationId"], assignments=[(joined["memberId"], b"a")])
        topics = [f"topic-that-is-not-there-{i:08}" for i in range(60000)]
        s.exceptions.argue("a member with 60,000 topics (ConsumerGroupHeartbeat v1)", "it says what is wrong", **{
            ".errorMessage": "What the member subscribes to takes 2100020 bytes. A record of its group has room for 917515: offsets "
                             "are kept with the max.message.bytes of __consumer_offsets."})
        s.join("a member with 60,000 topics", "ov-topics", "m", topics)
        s.look("after it", "ov-topics")
        s.join("a member id of 1,000", "ov-member", "m" * 1000, ["mi-a"], keep=lambda a: {**a, "memberId": len(a["memberId"] or "")})
        s.join("a member id of 32,767", "ov-member", "m" * 32767, ["mi-a"], soon=True,
               keep=lambda a: {**a, "memberId": len(a["memberId"] or ""), "assignment": "some" if a["assignment"] else None})
        s.beats("beside it", "beside")
        s.look("beside it", "ov-beside")
