import fc from 'fast-check'
import t from 'tap'
import { checkInterfaceName } from '../../../lib/cni/environment.ts'
import { attachmentDigest, hostVethName } from '../../../lib/cni/names.ts'

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
