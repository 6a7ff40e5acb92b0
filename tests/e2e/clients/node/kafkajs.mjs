// KafkaJS as a client program; ../python/driver.py says what one does. It consumes only as a member of
// a group. Codecs other than gzip are plug-ins: snappy comes from the package
// made for it, lz4 and zstd are added as its documentation shows.

import zlib from 'node:zlib'
import kafkajs from 'kafkajs'
import snappy from 'kafkajs-snappy'
import lz4 from 'lz4-napi'
import { format, main, sends, show, until } from './driver.mjs'

const { Kafka, CompressionTypes, CompressionCodecs, ConfigResourceTypes, KafkaJSProtocolError, logLevel } = kafkajs

CompressionCodecs[CompressionTypes.Snappy] = snappy
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async encoder => lz4.compressFrame(encoder.buffer),
  decompress: async buffer => lz4.decompressFrame(buffer)
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => zlib.zstdCompressSync(encoder.buffer),
  decompress: async buffer => zlib.zstdDecompressSync(buffer)
})

const codecs = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD
}

const connect = bootstrap => new Kafka({ brokers: [bootstrap], logLevel: logLevel.NOTHING })

const newTopic = (topic, configs = {}) => ({
  topic,
  numPartitions: 3,
  replicationFactor: 1,
  configEntries: Object.entries(configs).map(([name, value]) => ({ name, value }))
})

async function withAdmin (bootstrap, action) {
  const admin = connect(bootstrap).admin()
  await admin.connect()
  try {
    return await action(admin)
  } finally {
    await admin.disconnect()
  }
}

async function withProducer (bootstrap, options, action) {
  const producer = connect(bootstrap).producer({ maxInFlightRequests: 1, retry: { retries: 8 }, ...options })
  await producer.connect()
  try {
    return await action(producer)
  } finally {
    await producer.disconnect()
  }
}

async function produce (bootstrap, topic, codec, idempotent, plan) {
  if (idempotent) {
    await withAdmin(bootstrap, admin =>
      admin.createTopics({ topics: [newTopic(topic, { 'max.message.bytes': '2097152' })], waitForLeaders: true }))
  }
  await withProducer(bootstrap, { idempotent }, async producer => {
    for (const some of sends(plan)) {
      const messages = some.map(record => ({ ...record, headers: Object.fromEntries(record.headers) }))
      await producer.send({ topic, messages, compression: codecs[codec], acks: idempotent ? -1 : 1 })
    }
  })
}

async function group (bootstrap, topic, groupId, count) {
  const consumer = connect(bootstrap).consumer({ groupId, maxWaitTimeInMs: 50 })
  const lines = []
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  let late
  await new Promise((resolve, reject) => {
    late = setTimeout(() => reject(new Error(`${lines.length} of ${count} records read`)), 30000)
    consumer.run({
      // What a batch resolves is committed at its end, and when the member leaves.
      eachBatch: async ({ batch, resolveOffset, commitOffsetsIfNecessary, uncommittedOffsets }) => {
        for (const { offset, timestamp, key, value, headers } of batch.messages) {
          const pairs = Object.entries(headers).flatMap(([name, data]) => [data].flat().map(one => [name, one]))
          lines.push(format({ partition: batch.partition, offset, timestamp, key, value, headers: pairs }))
          resolveOffset(offset)
        }
        await commitOffsetsIfNecessary(uncommittedOffsets())
        if (lines.length >= count) resolve()
      }
    }).catch(reject)
  })
  clearTimeout(late)
  await consumer.disconnect()
  return lines.join('')
}

// The error code a call failed with; 0 when it did not fail.
async function codeOf (promise) {
  try {
    await promise
    return 0
  } catch (failure) {
    const cause = failure.errors?.[0] ?? failure.cause ?? failure
    if (!(cause instanceof KafkaJSProtocolError)) throw failure
    return cause.code
  }
}

async function administer (bootstrap, topic) {
  await withAdmin(bootstrap, async admin => {
    const withDefaults = `${topic}-default`
    const create = topics => admin.createTopics({ topics, waitForLeaders: true })
    const partitions = async () => (await admin.fetchTopicMetadata({ topics: [topic] })).topics[0].partitions.length
    const describe = async () => {
      const answer = await admin.describeConfigs({
        includeSynonyms: true,
        resources: [{ type: ConfigResourceTypes.TOPIC, name: topic }]
      })
      return Object.fromEntries(answer.resources[0].configEntries.map(e => [e.configName, e.configValue]))
    }
    // It has AlterConfigs only, which resets what it is not given.
    const alter = entries => admin.alterConfigs({
      resources: [{
        type: ConfigResourceTypes.TOPIC,
        name: topic,
        configEntries: Object.entries(entries).map(([name, value]) => ({ name, value }))
      }]
    })

    await create([newTopic(topic, { 'retention.ms': '7200000', 'max.message.bytes': '2097152' }), newTopic(withDefaults)])
    // It answers false, not an error, for a topic that exists.
    show('created.again', (await create([newTopic(topic)])) === false ? 36 : 0)
    show('created.badly', await codeOf(create([newTopic('a/b')])))
    show('listed', (await admin.listTopics()).includes(topic))
    show('partitions', await until(3, partitions))
    const seen = await describe()
    for (const name of ['retention.ms', 'max.message.bytes', 'segment.bytes']) show(name, seen[name])
    await alter({ 'retention.ms': '3600000', 'max.message.bytes': '2097152' })
    show('retention.ms.altered', (await describe())['retention.ms'])
    show('altered.badly', await codeOf(alter({ 'retention.ms': 'soon' })))

    const began = Date.now() - 60000
    const offsets = async () => (await admin.fetchTopicOffsets(topic)).find(o => o.partition === 1)
    await withProducer(bootstrap, { idempotent: true }, async producer => {
      for (let i = 0; i < 5; i++) {
        const message = { partition: 1, timestamp: String(began + i * 1000), value: 'x'.repeat(10) }
        await producer.send({ topic, messages: [message] })
      }
      show('offset.earliest', (await offsets()).low)
      show('offset.latest', (await offsets()).high)
      const byTime = await admin.fetchTopicOffsetsByTimestamp(topic, began + 1500)
      show('offset.time', byTime.find(o => o.partition === 1).offset)
      await admin.deleteTopicRecords({ topic, partitions: [{ partition: 1, offset: '2' }] })
      show('offset.earliest.deleted', (await offsets()).low)
    })
    await withProducer(bootstrap, { retry: { retries: 0 } }, async producer => {
      const send = producer.send({ topic: withDefaults, messages: [{ partition: 0, value: Buffer.alloc(1 << 20) }] })
      show('too.large', await codeOf(send))
    })
    await admin.createPartitions({ topicPartitions: [{ topic, count: 5 }] })
    show('partitions.grown', await until(5, partitions))
    await admin.deleteTopics({ topics: [topic, withDefaults] })
    show('deleted', await until(true, async () => !(await admin.listTopics()).includes(topic)))
  })
}

main({ produce, group, admin: administer })
