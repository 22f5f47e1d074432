import t from 'tap'
import { ConfigurationError, UsageError } from '../../../cnictl/command.ts'
import { errorDocument, errorLines } from '../../../cnictl/render/error.ts'
import { resultParagraphs } from '../../../cnictl/render/result.ts'
import { paragraphs, table } from '../../../cnictl/render/table.ts'
import { CniError } from '../../../lib/cni/errors.ts'
import type { Result } from '../../../lib/cni/types.ts'
import { SysError } from '../../../lib/sys/errno.ts'

t.test('a table aligns its columns and leaves out those that are empty', async t => {
  const rows = [
    { a: 'x', b: 1, c: undefined, d: '' },
    { a: 'longer', b: undefined },
  ]
  t.same(table(['a', 'b', 'c', 'd'], rows), ['A       B', 'x       1', 'longer'])
  t.same(table(['a'], []), [])
})

t.test('paragraphs are parted by one empty line, whichever are missing', async t => {
  t.equal(paragraphs([], ['a', 'b'], [], ['c'], []), 'a\nb\n\nc')
})

t.test('a full result shows interfaces, addresses with their gateways, routes and name servers', async t => {
  const result: Result = {
    interfaces: [
      { name: 'cnikit0', mac: '02:42:0a:01:00:01', mtu: 1500 },
      { name: 'veth1f2e3d4c5b6', mac: '02:42:0a:01:00:02' },
      { name: 'eth0', mac: '02:42:0a:01:00:05', sandbox: '/run/netns/blue', mtu: 1450 },
    ],
    ips: [
      { interface: 2, address: '10.1.0.5/16', gateway: '10.1.0.1' },
      { interface: 2, address: 'fd00::5/64' },
    ],
    routes: [
      { dst: '0.0.0.0/0', gw: '10.1.0.1' },
      { dst: 'fd00:1::/64', mtu: 1400, table: 0 },
    ],
    dns: { nameservers: ['10.1.0.1', 'fd00::1'], domain: 'example.org', search: ['a', 'b'], options: ['ndots:2'] },
  }
  t.equal(
    paragraphs(...resultParagraphs(result)),
    `INTERFACE        MAC                MTU   WHERE
cnikit0          02:42:0a:01:00:01  1500  host
veth1f2e3d4c5b6  02:42:0a:01:00:02        host
eth0             02:42:0a:01:00:05  1450  /run/netns/blue

ADDRESS      INTERFACE  GATEWAY
10.1.0.5/16  eth0       10.1.0.1
fd00::5/64   eth0

ROUTE        VIA       MTU   TABLE
0.0.0.0/0    10.1.0.1
fd00:1::/64            1400  0

dns servers: 10.1.0.1, fd00::1
dns domain: example.org
dns search: a, b
dns options: ndots:2`,
  )
})

t.test('an empty result shows nothing, and an index without an interface shows itself', async t => {
  t.equal(paragraphs(...resultParagraphs({})), '')
  t.equal(
    paragraphs(...resultParagraphs({ ips: [{ interface: 7, address: '10.1.0.5/16' }] })),
    'ADDRESS      INTERFACE\n10.1.0.5/16  #7',
  )
})

t.test('errors of every kind become one document and readable lines', async t => {
  const cases: [Error, Record<string, unknown>, string[]][] = [
    [
      new CniError(50, 'pool exhausted', 'free one\nor enlarge'),
      { code: 50, msg: 'pool exhausted', details: 'free one\nor enlarge' },
      ['pool exhausted (code 50)', '  free one', '  or enlarge'],
    ],
    [new ConfigurationError(new CniError(7, 'wrong')), { code: 7, msg: 'wrong' }, ['wrong (code 7)']],
    [new UsageError('no', 'write yes'), { code: 4, msg: 'no', details: 'write yes' }, ['no', '  write yes']],
    [
      new SysError('open "x"', 30),
      { code: 5, msg: 'open "x": EROFS (read-only file system)' },
      ['open "x": EROFS (read-only file system) (code 5)'],
    ],
  ]
  for (const [error, document, lines] of cases) {
    t.match(errorDocument(error), { cniVersion: '1.1.0', ...document })
    t.match(errorLines(error), lines)
  }
})
