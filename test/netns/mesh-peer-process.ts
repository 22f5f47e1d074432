/**
 * Peers of the mesh's tests.
 * `serve <name> <port>...`: TCP and UDP, IPv4 and IPv6; every line is answered by "<name> <address it came from>".
 * `ask <tcp|udp> <address> <port> <count> [<source address>]`: so many connections, each asked once; prints the answers,
 * "refused" and "silence".
 * `talk <tcp|udp> <address> <port>`: one connection, asked at once and again at every SIGUSR1; prints "<number> <answer>".
 */

import { createSocket } from 'node:dgram'
import { connect, createServer } from 'node:net'

/** How long an answer may take; a test that expects none says less. */
const PATIENCE_MS = Number(process.env.PATIENCE_MS ?? 2_000)
const [role, ...words] = process.argv.slice(2)
const print = (line: string): boolean => process.stdout.write(`${line}\n`)
const plain = (address = ''): string => address.replace(/^::ffff:/, '')

function serve(name: string, ports: readonly number[]): void {
  let missing = ports.length * 2
  const ready = () => --missing === 0 && print('listening')
  for (const port of ports) {
    const tcp = createServer(socket => {
      socket.on('error', () => {})
      socket.on('data', () => socket.write(`${name} ${plain(socket.remoteAddress)}\n`))
    })
    tcp.listen(port, '::', ready)
    const udp = createSocket('udp6')
    udp.on('message', (_, from) => udp.send(`${name} ${plain(from.address)}\n`, from.port, from.address))
    udp.bind(port, '::', ready)
  }
}

/** Something that a line can be sent to and an answer comes back from. */
interface Talk {
  ask(): Promise<string>
  end(): void
}

function overTcp(address: string, port: number, localAddress?: string): Talk {
  const socket = connect({ host: address, port, ...(localAddress !== undefined && { localAddress }) })
  return {
    ask: () =>
      within(answer => {
        socket.once('error', error =>
          answer((error as NodeJS.ErrnoException).code === 'ECONNREFUSED' ? 'refused' : String(error)),
        )
        socket.once('data', line => answer(String(line).trim()))
        socket.write('hello\n')
      }),
    end: () => socket.destroy(),
  }
}

function overUdp(address: string, port: number, localAddress?: string): Talk {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
  const bound = new Promise<void>(done =>
    socket.bind({ port: 0, ...(localAddress !== undefined && { address: localAddress }) }, done),
  )
  const connected = bound.then(() => new Promise<void>(done => socket.connect(port, address, done)))
  return {
    ask: async () => {
      await connected
      return within(answer => {
        socket.once('error', () => answer('refused'))
        socket.once('message', line => answer(String(line).trim()))
        socket.send('hello\n')
      })
    },
    end: () => socket.close(),
  }
}

function within(start: (answer: (text: string) => void) => void): Promise<string> {
  return new Promise(resolve => {
    const timer = setTimeout(() => resolve('silence'), PATIENCE_MS)
    start(text => {
      clearTimeout(timer)
      resolve(text)
    })
  })
}

const open = (transport: string, address: string, port: string, source?: string): Talk =>
  (transport === 'tcp' ? overTcp : overUdp)(address, Number(port), source)

async function ask([transport = '', address = '', port = '', count = '1', source]: readonly string[]): Promise<void> {
  for (let index = 0; index < Number(count); index++) {
    const talk = open(transport, address, port, source)
    print(await talk.ask())
    talk.end()
  }
}

async function talk([transport = '', address = '', port = '']: readonly string[]): Promise<void> {
  const talk = open(transport, address, port)
  let number = 0
  const again = async (): Promise<void> => {
    print(`${++number} ${await talk.ask()}`)
  }
  process.on('SIGUSR1', again)
  await again()
  // An open UDP socket or a broken connection must not decide when this ends.
  setInterval(() => {}, 60_000)
}

if (role === 'serve') serve(words[0] ?? '', words.slice(1).map(Number))
else if (role === 'ask') await ask(words)
else await talk(words)
