// Members of consumer groups by KafkaJS; ../python/members.py says what is asked and said. members.mjs LIBRARY BOOTSTRAP
import kafkajs from 'kafkajs'
import { createInterface } from 'node:readline'

const [, , , bootstrap] = process.argv
const { Kafka, logLevel } = kafkajs
const members = new Map()

class Member {
  constructor (name, topic, group) {
    this.name = name
    this.topic = topic
    this.group = group
    this.assigned = []
    this.told = true
  }

  make () {
    const kafka = new Kafka({ clientId: this.name, brokers: [bootstrap], logLevel: logLevel.NOTHING, retry: { retries: 30 } })
    this.consumer = kafka.consumer({
      groupId: this.group, sessionTimeout: 3000, heartbeatInterval: 500, rebalanceTimeout: 15000, maxWaitTimeInMs: 100
    })
  }

  say (...words) {
    this.sayAt(Date.now(), ...words)
  }

  sayAt (ms, ...words) {
    process.stdout.write([this.name, ms, ...words].join(' ') + '\n')
  }

  // The library tells of an assignment without its generation, which what comes next names.
  tell (generation) {
    if (this.told) return
    this.told = true
    this.say('assigned', generation, ...this.assigned)
  }

  forget () {
    if (this.told && this.assigned.length > 0) this.say('revoked', ...this.assigned)
    this.assigned = []
    this.told = true
  }

  async run () {
    this.make()
    const { GROUP_JOIN, HEARTBEAT, COMMIT_OFFSETS, REBALANCING, CRASH, REQUEST } = this.consumer.events
    let sentAt
    this.consumer.on(REQUEST, ({ payload }) => {
      if (payload.apiName === 'OffsetCommit') sentAt = payload.sentAt
    })
    this.consumer.on(REBALANCING, () => this.forget())
    this.consumer.on(GROUP_JOIN, ({ payload }) => {
      this.forget()
      this.assigned = payload.memberAssignment[this.topic] ?? []
      this.told = false
    })
    this.consumer.on(HEARTBEAT, ({ payload }) => this.tell(payload.groupGenerationId))
    this.consumer.on(COMMIT_OFFSETS, ({ payload }) => {
      this.tell(payload.groupGenerationId)
      for (const { partitions } of payload.topics) {
        for (const { partition, offset } of partitions) {
          this.sayAt(sentAt, 'committed', payload.groupGenerationId, partition, offset)
        }
      }
    })
    this.consumer.on(CRASH, ({ payload }) => {
      if (payload.restart) return
      this.forget()
      // It gives up at once where its connection breaks just then; a program would begin anew.
      if (payload.error.name === 'KafkaJSGroupCoordinatorNotFound') this.run().catch(failed(this))
      else this.say('failed', String(payload.error).replaceAll('\n', ' '))
    })
    for (;;) {
      try {
        await this.consumer.connect()
        await this.consumer.subscribe({ topic: this.topic, fromBeginning: true })
        break
      } catch { // the broker may be away, or only just learn of the topic
        await new Promise(resolve => setTimeout(resolve, 200))
      }
    }
    await this.consumer.run({
      autoCommitInterval: 200,
      eachMessage: async ({ partition, message }) => this.say('processed', partition, message.offset, message.offset)
    })
  }

  async leave () {
    await this.consumer.disconnect()
    this.say('left')
  }
}

function failed (member) {
  return failure => member.say('failed', String(failure.stack).replaceAll('\n', ' | '))
}

for await (const line of createInterface({ input: process.stdin })) {
  const [word, name, topic, group] = line.split(' ')
  if (word === 'join') {
    const member = new Member(name, topic, group)
    members.set(name, member)
    member.run().catch(failed(member))
  } else {
    const member = members.get(name)
    member.leave().catch(failed(member))
  }
}
process.exit(0)
