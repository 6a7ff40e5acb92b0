// @platformatic/kafka as a client program; ../python/driver.py says what one does. Its streams read as
// members of a group; without one, partitions are read here by the consumer's own fetch call.

import {
  Admin, ConfigResourceTypes, Consumer, IncrementalAlterConfigOperationTypes, ListOffsetTimestamps,
  MessagesStreamFallbackModes, MessagesStreamModes, Producer
} from '@platformatic/kafka'
import { format, main, sends, show, until } from './driver.mjs'

const client = bootstrap => ({ clientId: 'taffrail-tests', bootstrapBrokers: [bootstrap] })

async function using (instance, action) {
  try {
    return await action(instance)
  } finally {
    await instance.close()
  }
}

const setting = configs => Object.entries(configs).map(([name, value]) => ({ name, value }))

const create = (admin, topic, configs = {}) =>
  admin.createTopics({ topics: [topic], partitions: 3, replicas: 1, configs: setting(configs) })

const toMessage = (topic, record) => ({
  topic,
  partition: record.partition,
  timestamp: BigInt(record.timestamp),
  key: record.key ?? undefined,
  value: record.value ?? undefined,
  headers: new Map(record.headers.map(([name, value]) => [Buffer.from(name), value]))
})

async function produce (bootstrap, topic, codec, idempotent, plan) {
  if (idempotent) {
    await using(new Admin(client(bootstrap)), admin => create(admin, topic, { 'max.message.bytes': '2097152' }))
  }
  await using(new Producer({ ...client(bootstrap), idempotent }), async producer => {
    for (const some of sends(plan)) {
      const messages = some.map(record => toMessage(topic, record))
      await producer.send({ messages, compression: codec, acks: idempotent ? -1 : 1 })
    }
  })
}

function * records (answer) {
  for (const partition of answer.responses.flatMap(t => t.partitions)) {
    for (const batch of partition.records ?? []) {
      for (const record of batch.records) {
        yield {
          partition: partition.partitionIndex,
          offset: batch.firstOffset + BigInt(record.offsetDelta),
          timestamp: batch.firstTimestamp + record.timestampDelta,
          key: record.key,
          value: record.value,
          headers: record.headers.map(([name, value]) => [name.toString(), value])
        }
      }
    }
  }
}

async function consume (bootstrap, topic) {
  return await using(new Consumer({ ...client(bootstrap), groupId: 'unused', maxWaitTime: 50 }), async consumer => {
    consumer.topics.track(topic)
    const { id, partitions } = (await consumer.metadata({ topics: [topic] })).topics.get(topic)
    const ends = (await consumer.listOffsets({ topics: [topic], timestamp: ListOffsetTimestamps.LATEST })).get(topic)
    const next = partitions.map(() => 0n)
    const lines = []
    const deadline = Date.now() + 30000
    while (next.some((offset, p) => offset < ends[p])) {
      if (Date.now() > deadline) throw new Error(`read up to ${next} of ${ends} in time`)
      const wanted = partitions.map((_, partition) => ({
        partition, fetchOffset: next[partition], currentLeaderEpoch: -1, lastFetchedEpoch: -1, partitionMaxBytes: 1 << 20
      }))
      const answer = await consumer.fetch({ node: partitions[0].leader, topics: [{ topicId: id, partitions: wanted }] })
      for (const record of records(answer)) {
        // A batch comes whole, also when only its end was asked for.
        if (record.offset < next[record.partition]) continue
        lines.push(format(record))
        next[record.partition] = record.offset + 1n
      }
    }
    return lines.join('')
  })
}

async function group (bootstrap, topic, groupId, count) {
  const groupProtocol = groupId.includes('consumer') ? 'consumer' : 'classic'
  const options = { ...client(bootstrap), groupId, groupProtocol, maxWaitTime: 50 }
  return await using(new Consumer(options), async consumer => {
    const stream = await consumer.consume({
      topics: [topic], autocommit: false, mode: MessagesStreamModes.COMMITTED, fallbackMode: MessagesStreamFallbackModes.EARLIEST
    })
    const late = setTimeout(() => stream.destroy(new Error(`${lines.length} of ${count} records read`)), 30000)
    const lines = []
    const next = new Map()
    for await (const { partition, offset, timestamp, key, value, headers } of stream) {
      const pairs = [...headers].map(([name, data]) => [name.toString(), data])
      lines.push(format({ partition, offset, timestamp, key, value, headers: pairs }))
      next.set(partition, { topic, partition, offset: offset + 1n, leaderEpoch: -1 })
      if (lines.length >= count) break
    }
    clearTimeout(late)
    await consumer.commit({ offsets: [...next.values()] })
    return lines.join('')
  })
}

// The error code a call failed with; 0 when it did not fail.
async function codeOf (promise) {
  const find = failure => failure?.apiCode ?? failure?.errors?.map(find).find(Boolean) ?? (failure?.cause && find(failure.cause))
  try {
    await promise
    return 0
  } catch (failure) {
    const code = find(failure)
    if (code === undefined) throw failure
    return code
  }
}

async function administer (bootstrap, topic) {
  await using(new Admin({ ...client(bootstrap), retries: 2 }), async admin => {
    const withDefaults = `${topic}-default`
    const resource = { resourceType: ConfigResourceTypes.TOPIC, resourceName: topic }
    const partitions = async () =>
      (await admin.metadata({ topics: [topic], forceUpdate: true })).topics.get(topic).partitionsCount
    const describe = async () => {
      const [answer] = await admin.describeConfigs({ resources: [resource] })
      return Object.fromEntries(answer.configs.map(c => [c.name, c.value]))
    }
    const alter = (name, value) => admin.incrementalAlterConfigs({
      resources: [{ ...resource, configs: [{ name, value, configOperation: IncrementalAlterConfigOperationTypes.SET }] }]
    })
    const offset = async timestamp => {
      const [answer] = await admin.listOffsets({
        topics: [{ name: topic, partitions: [{ partitionIndex: 1, timestamp }] }]
      })
      return answer.partitions[0].offset
    }

    await create(admin, topic, { 'retention.ms': '7200000', 'max.message.bytes': '2097152' })
    await create(admin, withDefaults)
    show('created.again', await codeOf(create(admin, topic)))
    show('created.badly', await codeOf(create(admin, 'a/b')))
    show('listed', (await admin.listTopics()).includes(topic))
    show('partitions', await until(3, partitions))
    const seen = await describe()
    for (const name of ['retention.ms', 'max.message.bytes', 'segment.bytes']) show(name, seen[name])
    await alter('retention.ms', '3600000')
    show('retention.ms.altered', (await describe())['retention.ms'])
    show('altered.badly', await codeOf(alter('retention.ms', 'soon')))

    const began = BigInt(Date.now() - 60000)
    await using(new Producer({ ...client(bootstrap), idempotent: true, retries: 0 }), async producer => {
      for (let i = 0n; i < 5n; i++) {
        const message = { topic, partition: 1, timestamp: began + i * 1000n, value: Buffer.alloc(10, 'x') }
        await producer.send({ messages: [message], acks: -1 })
      }
      show('offset.earliest', await offset(ListOffsetTimestamps.EARLIEST))
      show('offset.latest', await offset(ListOffsetTimestamps.LATEST))
      show('offset.max', await offset(ListOffsetTimestamps.MAX))
      show('offset.time', await offset(began + 1500n))
      const [deleted] = await admin.deleteRecords({ topics: [{ name: topic, partitions: [{ partition: 1, offset: 2n }] }] })
      show('records.deleted', deleted.partitions[0].lowWatermark)
      show('offset.earliest.deleted', await offset(ListOffsetTimestamps.EARLIEST))
      const tooLarge = { topic: withDefaults, partition: 0, value: Buffer.alloc(1 << 20) }
      show('too.large', await codeOf(producer.send({ messages: [tooLarge], acks: -1 })))
    })
    // It always sends assignments, so it has to name a broker for each new partition.
    const [broker] = (await admin.metadata({})).brokers.keys()
    const assignments = [{ brokerIds: [broker] }, { brokerIds: [broker] }]
    await admin.createPartitions({ topics: [{ name: topic, count: 5, assignments }] })
    show('partitions.grown', await until(5, partitions))
    await admin.deleteTopics({ topics: [topic, withDefaults] })
    show('deleted', await until(true, async () => !(await admin.listTopics()).includes(topic)))
  })
}

main({ produce, consume, group, admin: administer })
