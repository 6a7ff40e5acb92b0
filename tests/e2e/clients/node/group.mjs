// A member of a consumer group by KafkaJS; see test_groups.py. group.mjs member BOOTSTRAP TOPIC GROUP
import kafkajs from 'kafkajs'

const [, , , bootstrap, topic, group] = process.argv
const { Kafka, logLevel } = kafkajs
const kafka = new Kafka({ clientId: 'group', brokers: [bootstrap], logLevel: logLevel.NOTHING })
const consumer = kafka.consumer({ groupId: group, sessionTimeout: 3000, heartbeatInterval: 500, rebalanceTimeout: 10000 })

process.on('SIGTERM', async () => {
  await consumer.disconnect()
  process.exit(0)
})
await consumer.connect()
await consumer.subscribe({ topic, fromBeginning: true })
await consumer.run({
  autoCommitInterval: 200,
  eachMessage: async ({ partition, message }) => process.stdout.write(`${partition} ${message.offset}\n`)
})
