"""What one node without an authorizer answers to the rest of administration: ACLs, tokens, elections, reassignments, features."""

from scenario import Scenario

ANY, TOPIC, CLUSTER = 1, 2, 4
LITERAL, MATCH, PREFIXED = 3, 2, 4
ALL, READ, ALLOW = 2, 3, 3
PREFERRED, UNCLEAN = 0, 1


def acl(**fields):
    return {"resourceType": TOPIC, "resourceName": "t", "principal": "User:a", "host": "*", "operation": READ,
            "permissionType": ALLOW, **fields}


def acl_filter(**fields):
    return {"resourceTypeFilter": ANY, "resourceNameFilter": None, "principalFilter": None, "hostFilter": None,
            "operation": 1, "permissionType": 1, **fields}


def test_acls(env):
    with Scenario(env, "acls") as s:
        for version in range(1, 4):
            s.call("describe", "DescribeAcls", version, acl_filter())
            s.call("describe one", "DescribeAcls", version, acl_filter(resourceTypeFilter=TOPIC, resourceNameFilter="t"))
            s.call("create", "CreateAcls", version, {"creations": [acl(), acl(resourceName="u")]})
            s.call("create none", "CreateAcls", version, {"creations": []})
            s.call("create a bad one", "CreateAcls", version, {"creations": [acl(resourceName=""), acl(operation=99)]})
            s.call("delete", "DeleteAcls", version, {"filters": [acl_filter(), acl_filter(resourceNameFilter="t")]})
            s.call("delete none", "DeleteAcls", version, {"filters": []})
        s.call("describe an unknown type", "DescribeAcls", 3, acl_filter(resourceTypeFilter=99))
        s.call("describe an unknown operation", "DescribeAcls", 3, acl_filter(operation=99))
        s.call("describe an unknown pattern", "DescribeAcls", 3, acl_filter(patternTypeFilter=99))
        s.call("delete an unknown type", "DeleteAcls", 3, {"filters": [acl_filter(resourceTypeFilter=99)]})
        s.call("create an unknown type", "CreateAcls", 3, {"creations": [acl(resourceType=99)]})


def test_delegation_tokens(env):
    with Scenario(env, "delegation_tokens") as s:
        for version in range(1, 4):
            s.call("create", "CreateDelegationToken", version, {"renewers": [], "maxLifetimeMs": -1})
            s.call("create with a renewer", "CreateDelegationToken", version, {
                "renewers": [{"principalType": "User", "principalName": "a"}], "maxLifetimeMs": 1000})
            s.call("describe all", "DescribeDelegationToken", version, {"owners": None})
            s.call("describe none", "DescribeDelegationToken", version, {"owners": []})
            s.call("describe one", "DescribeDelegationToken", version, {
                "owners": [{"principalType": "User", "principalName": "a"}]})
        s.call("create for another", "CreateDelegationToken", 3, {
            "ownerPrincipalType": "User", "ownerPrincipalName": "a", "renewers": [], "maxLifetimeMs": -1})
        for version in (1, 2):
            s.call("renew", "RenewDelegationToken", version, {"hmac": "AAAA", "renewPeriodMs": 1000})
            s.call("expire", "ExpireDelegationToken", version, {"hmac": "AAAA", "expiryTimePeriodMs": 1000})


def test_elect_leaders(env):
    with Scenario(env, "elect_leaders", config={"node.id": "1"}) as s:
        s.create("el-a", "el-b", partitions=2)

        def elect(step, version, partitions, kind=PREFERRED):
            body = {"electionType": kind} if version >= 1 else {}
            topics = None if partitions is None else [{"topic": t, "partitions": p} for t, p in partitions]
            s.call(step, "ElectLeaders", version, {**body, "topicPartitions": topics, "timeoutMs": 5000})

        for version in range(0, 3):
            elect("one", version, [("el-a", [0])])
            elect("two and unknown ones", version, [("el-a", [0, 9]), ("el-b", [1]), ("el-unknown", [0])])
            elect("none", version, [])
            elect("all", version, None)
            elect("the same twice", version, [("el-a", [0, 0])])
            elect("the same topic twice", version, [("el-a", [0]), ("el-a", [1])])
            elect("negative", version, [("el-a", [-1])])
            elect("illegal name", version, [("a b", [0])])
            if version >= 1:
                elect("unclean", version, [("el-a", [0])], UNCLEAN)
                elect("unclean, unknown", version, [("el-a", [9]), ("el-unknown", [0])], UNCLEAN)
                elect("unclean, all", version, None, UNCLEAN)
                elect("unknown kind", version, [("el-a", [0])], 9)


def test_reassignments(env):
    with Scenario(env, "reassignments", config={"node.id": "1"}) as s:
        s.create("re-a", "re-b", partitions=2)

        def alter(step, version, *topics, **body):
            s.call(step, "AlterPartitionReassignments", version, {"timeoutMs": 5000, **body, "topics": [
                {"name": t, "partitions": [{"partitionIndex": p, "replicas": r} for p, r in ps]} for t, ps in topics]})

        def list_all(step, *topics, everything=False):
            s.call(step, "ListPartitionReassignments", 0, {"timeoutMs": 5000, "topics": None if everything else [
                {"name": t, "partitionIndexes": p} for t, p in topics]})

        for version in (0, 1):
            alter("to where it is", version, ("re-a", [(0, [1])]))
            alter("to nobody", version, ("re-a", [(0, [])]))
            alter("to a stranger", version, ("re-a", [(0, [7])]))
            alter("to two", version, ("re-a", [(0, [1, 7])]))
            alter("twice to one", version, ("re-a", [(0, [1, 1])]))
            alter("to a negative one", version, ("re-a", [(0, [-1])]))
            alter("cancel", version, ("re-a", [(0, None)]))
            alter("unknown partition", version, ("re-a", [(9, [1])]))
            alter("cancel an unknown partition", version, ("re-a", [(9, None)]))
            alter("unknown topic", version, ("re-unknown", [(0, [1])]))
            alter("good and bad", version, ("re-a", [(0, [1]), (1, [7])]), ("re-b", [(1, [1]), (5, [1])]))
            alter("the same partition twice", version, ("re-a", [(0, [1]), (0, [7])]))
            alter("the same topic twice", version, ("re-a", [(0, [1])]), ("re-a", [(1, [1])]))
            alter("illegal name", version, ("a b", [(0, [1])]))
            alter("none", version)
            alter("no partition", version, ("re-a", []))
        alter("no change of the replication factor", 1, ("re-a", [(0, [1])]), allowReplicationFactorChange=False)
        alter("no change of the replication factor, to two", 1, ("re-a", [(0, [1, 7])]), allowReplicationFactorChange=False)
        list_all("all", everything=True)
        list_all("some", ("re-a", [0, 1]), ("re-b", [0]))
        list_all("unknown ones", ("re-a", [9]), ("re-unknown", [0]))
        list_all("none")
        s.call("as they were", "Metadata", 12, {"topics": [{"name": "re-a"}, {"name": "re-b"}]})


UPGRADE, SAFE, UNSAFE = 1, 2, 3


def test_update_features(env):
    with Scenario(env, "update_features", config={"node.id": "1"}) as s:
        def update(step, version, *updates, validate=False, kinds=None):
            body = {"validateOnly": validate} if version >= 1 else {}
            s.call(step, "UpdateFeatures", version, {"timeoutMs": 5000, **body, "featureUpdates": [
                {"feature": f, "maxVersionLevel": level,
                 **({"upgradeType": kind} if version >= 1 else {"allowDowngrade": kind != UPGRADE})} for f, level, kind in updates]})

        def show(step):
            s.settle()
            s.call(step, "ApiVersions", 4, {"clientSoftwareName": "behaviour", "clientSoftwareVersion": "1"},
                   keep=lambda a: {"finalizedFeatures": a["finalizedFeatures"]})

        for version in range(0, 3):
            update("to where it is", version, ("share.version", 1, UPGRADE))
            update("unknown feature", version, ("no.such.feature", 1, UPGRADE))
            update("too high", version, ("share.version", 9, UPGRADE))
            update("down by an upgrade", version, ("share.version", 0, UPGRADE))
            update("negative", version, ("share.version", -1, UPGRADE))
            update("metadata too high", version, ("metadata.version", 99, UPGRADE))
            update("metadata to where it is", version, ("metadata.version", 30, UPGRADE))
            update("metadata too low", version, ("metadata.version", 1, SAFE))
            update("metadata down by an upgrade", version, ("metadata.version", 29, UPGRADE))
            update("kraft.version to where it is", version, ("kraft.version", 1, UPGRADE))
            update("kraft.version down", version, ("kraft.version", 0, SAFE))
            update("none", version)
            update("the same twice", version, ("share.version", 1, UPGRADE), ("share.version", 0, SAFE))
            if version >= 1:
                update("good and bad", version, ("streams.version", 0, SAFE), ("share.version", 9, UPGRADE))
                update("validated only", version, ("share.version", 0, SAFE), validate=True)
                update("unknown kind", version, ("share.version", 0, 9))
                update("unsafe, metadata", version, ("metadata.version", 7, UNSAFE), validate=True)
                update("safe, metadata", version, ("metadata.version", 29, SAFE), validate=True)
            update("down", version, ("share.version", 0, SAFE))
            show("after down")
            update("up", version, ("share.version", 1, UPGRADE))
            show("after up")
        update("two at once", 2, ("share.version", 0, SAFE), ("streams.version", 0, SAFE))
        update("and back", 2, ("share.version", 1, UPGRADE), ("streams.version", 1, UPGRADE))
        update("transactions down", 2, ("transaction.version", 1, SAFE), validate=True)
        update("groups down", 2, ("group.version", 0, SAFE), validate=True)
        update("ELR down", 2, ("eligible.leader.replicas.version", 0, SAFE), validate=True)
        show("in the end")


def test_quotas_and_credentials(env):
    """Nothing is stored here: what the tools show then."""
    with Scenario(env, "quotas_and_credentials") as s:
        def quotas(step, version, *components, strict=False):
            s.call(step, "DescribeClientQuotas", version, {"strict": strict, "components": [
                {"entityType": t, "matchType": m, "match": name} for t, m, name in components]})

        for version in (0, 1):
            quotas("all", version)
            quotas("strictly none", version, strict=True)
            quotas("users", version, ("user", 2, None))
            quotas("a user", version, ("user", 0, "a"))
            quotas("default user", version, ("user", 1, None))
            quotas("a user's client", version, ("user", 0, "a"), ("client-id", 0, "c"))
            quotas("addresses", version, ("ip", 2, None))
            quotas("unknown type", version, ("nobody", 2, None))
            quotas("empty type", version, ("", 2, None))
            quotas("a type twice", version, ("user", 0, "a"), ("user", 0, "b"))
            quotas("unknown match", version, ("user", 9, "a"))
            quotas("exact without a name", version, ("user", 0, None))
            quotas("default with a name", version, ("user", 1, "a"))
            quotas("address and user", version, ("ip", 0, "10.0.0.1"), ("user", 0, "a"))

        def users(step, *names, everything=False):
            s.call(step, "DescribeUserScramCredentials", 0, {"users": None if everything else [{"name": n} for n in names]})

        users("all users", everything=True)
        users("none")
        users("a user", "a")
        users("two users", "a", "b")
        users("a user twice", "a", "b", "a")
        users("an empty name", "")
