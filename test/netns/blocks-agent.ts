/**
 * overlayd's part for address blocks alone, as a process on a host of a cluster, with times that a test can wait for:
 * node blocks-agent.js NODE ETCD-URL DEAD-AFTER-SECONDS IDLE-SECONDS
 */

import { mkdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { dirname } from 'node:path'
import { CniError, ErrorCode } from '../../lib/cni/errors.ts'
import { type AnswerLine, type BlockRequest, DEFAULT_AGENT_SOCKET } from '../../lib/overlay/agent-protocol.ts'
import { AddressBlocks } from '../../overlayd/blocks/address-blocks.ts'
import { EtcdClient } from '../../overlayd/etcd/client.ts'
import { NodeLease } from '../../overlayd/etcd/lease.ts'
import { Store } from '../../overlayd/etcd/store.ts'
import { Log } from '../../overlayd/log.ts'

const [node = '', endpoint = '', deadAfter = '', idle = ''] = process.argv.slice(2)
const log = new Log('info')
const client = new EtcdClient({ endpoints: [endpoint], tls: {} })
const store = new Store(client, '/cnikit/v1/', new NodeLease(client, 10, log), log)
const blocks = new AddressBlocks({
  node,
  store,
  log,
  dataDirectory: '/var/lib/cni/cluster',
  deadAfterSeconds: Number(deadAfter),
  leaseAhead: 0.8,
  idleSeconds: Number(idle),
})

async function answer(line: string): Promise<AnswerLine> {
  try {
    return { answer: await blocks.block(JSON.parse(line) as BlockRequest) }
  } catch (error) {
    const {
      code,
      message: msg,
      details,
    } = error instanceof CniError ? error : new CniError(ErrorCode.internal, `${error}`)
    return { error: { code, msg, ...(details === undefined ? {} : { details }) } }
  }
}

const server = createServer({ allowHalfOpen: true }, socket => {
  let text = ''
  socket.setEncoding('utf8')
  socket.on('error', () => {})
  socket.on('data', part => {
    text += part
    if (text.endsWith('\n')) answer(text).then(line => socket.end(`${JSON.stringify(line)}\n`))
  })
})

function every(milliseconds: number, run: () => Promise<void>): void {
  const again = () =>
    setTimeout(
      () =>
        run()
          .catch(error => log.warn('failed', { error }))
          .finally(again),
      milliseconds,
    )
  again()
}

mkdirSync(dirname(DEFAULT_AGENT_SOCKET), { recursive: true })
rmSync(DEFAULT_AGENT_SOCKET, { force: true })
await blocks.start().catch((error: unknown) => log.warn('waits for etcd', { error }))
every(500, () => blocks.renew())
every(200, () => blocks.review())
every(1000, () => blocks.sweep())
server.listen(DEFAULT_AGENT_SOCKET, () => log.info('listening'))
