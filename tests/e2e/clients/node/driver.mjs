// The command line of a client program in JavaScript; ../python/driver.py says what one does.

import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const decode = text => (text === '~' ? null : Buffer.from(text, 'base64'))
const encode = data => (data == null ? '~' : data.toString('base64'))

function parse (line) {
  const [partition, , timestamp, key, value, headers] = line.split('\t')
  return {
    partition: Number(partition),
    timestamp,
    key: decode(key),
    value: decode(value),
    headers: (headers === '' ? [] : headers.split(',')).map(pair => {
      const colon = pair.indexOf(':')
      return [pair.slice(0, colon), decode(pair.slice(colon + 1))]
    })
  }
}

export function readPlan (path) {
  return readFileSync(path, 'latin1').trimEnd().split('\n').map(parse)
}

// One line of the records' text form; `headers` are [name, value] pairs.
export function format ({ partition, offset, timestamp, key, value, headers }) {
  const pairs = headers.map(([name, data]) => `${name}:${encode(data)}`).join(',')
  return [partition, offset, timestamp, encode(key), encode(value), pairs].join('\t') + '\n'
}

// Cuts a plan into sends whose batches stay well under the largest that the topic takes.
export function * sends (plan) {
  let some = []
  let size = 0
  for (const record of plan) {
    const length = record.value?.length ?? 0
    if (some.length > 0 && size + length > 500000) {
      yield some
      some = []
      size = 0
    }
    some.push(record)
    size += length
  }
  yield some
}

export function show (name, value) {
  console.log(`${name}=${value === true ? 'True' : value === false ? 'False' : value}`)
}

// What call() gives once it gives `wanted`, or at last: a broker learns of a change a moment later.
export async function until (wanted, call) {
  const deadline = Date.now() + 10000
  let seen = await call()
  while (seen !== wanted && Date.now() < deadline) {
    await new Promise(resolve => setTimeout(resolve, 50))
    seen = await call()
  }
  return seen
}

async function attempt (topic, action) {
  const began = performance.now()
  try {
    await action()
    console.log(`ok\t${topic}\t${((performance.now() - began) / 1000).toFixed(2)}`)
  } catch (failure) {
    const text = [failure, ...(failure.errors ?? [])].map(String).join('; ')
    console.log(`failed\t${topic}\t${text.replaceAll('\n', ' ')}`)
  }
}

export async function main ({ produce, consume, admin, group }) {
  const [action, bootstrap, ...rest] = process.argv.slice(2)
  if (action === 'produce') {
    const plan = readPlan(rest[0])
    for (const word of rest.slice(1)) {
      const [topic, codec, plain] = word.split(':')
      await attempt(topic, () => produce(bootstrap, topic, codec, !plain, plan))
    }
  } else if (action === 'consume') {
    for (const topic of rest.slice(1)) {
      await attempt(topic, async () => {
        writeFileSync(join(rest[0], `${topic}.tsv`), await consume(bootstrap, topic))
      })
    }
  } else if (action === 'group') {
    for (const topic of rest.slice(3)) {
      await attempt(topic, async () => {
        writeFileSync(join(rest[0], `${topic}.tsv`), await group(bootstrap, topic, rest[1], Number(rest[2])))
      })
    }
  } else if (action === 'admin') {
    await admin(bootstrap, rest[0])
  } else {
    throw new Error(`cannot ${action}`)
  }
  process.exit(0)
}
