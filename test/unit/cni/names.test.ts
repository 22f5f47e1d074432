import fc from 'fast-check'
import t from 'tap'
import { checkInterfaceName } from '../../../lib/cni/environment.ts'
import {
  attachmentDigest,
  attachmentNumber,
  hostAccessName,
  hostVethName,
  linkAlias,
  readLinkAlias,
} from '../../../lib/cni/names.ts'

t.test('the name of a veth is that of its attachment, for ever', async t => {
  // printf 'net/container/eth0' | sha512sum | cut -c1-11
  t.equal(hostVethName('net', 'container', 'eth0'), 'veth78e5d5c0601')
})

t.test('the parts of an attachment cannot be mistaken for each other', async t => {
  const names = [
    attachmentDigest('a', 'b', 'c'),
    attachmentDigest('ab', 'c', 'd'),
    attachmentDigest('a', 'bc', 'd'),
    attachmentDigest('b', 'a', 'c'),
    attachmentDigest('a', 'c', 'b'),
  ]
  t.equal(new Set(names).size, names.length)
})

t.test('whatever the attachment, the name begins with veth and the kernel takes it', async t => {
  fc.assert(
    fc.property(fc.string(), fc.string(), fc.string(), (network, containerId, ifname) => {
      const name = hostVethName(network, containerId, ifname)
      checkInterfaceName(name)
      return /^veth[0-9a-f]{11}$/.test(name)
    }),
  )
  t.pass()
})

t.test('names and numbers of host access are those of the network and the attachment, for ever', async t => {
  // printf 'host access of net' | sha512sum | cut -c1-11
  t.equal(hostAccessName('net'), 'shim0a4d35910a9')
  // printf 'net/container/eth0' | sha512sum | cut -c1-8, without the highest bit
  t.equal(attachmentNumber('net', 'container', 'eth0'), 0x78e5d5c0)
})

t.test('whatever the attachment, its number can be a metric', async t => {
  fc.assert(
    fc.property(fc.string(), fc.string(), fc.string(), (network, containerId, ifname) => {
      const number = attachmentNumber(network, containerId, ifname)
      return Number.isInteger(number) && number >= 1 && number <= 0x7fff_ffff
    }),
  )
  t.pass()
})

t.test('readLinkAlias() reads what linkAlias() writes, and nothing else', async t => {
  t.same(readLinkAlias(linkAlias('net', 'container', 'eth0')), {
    network: 'net',
    containerId: 'container',
    ifname: 'eth0',
  })
  for (const other of ['', 'uplink', 'cnikit net', 'cnikit net host access of it', 'other net container eth0'])
    t.equal(readLinkAlias(other), undefined, other)
})
