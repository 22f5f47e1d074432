/** Names and aliases of overlay networks. */

import t from 'tap'
import { readLinkAlias } from '../../../lib/cni/names.ts'
import { overlayAlias, overlayNamespaceName, readOverlayAlias } from '../../../lib/overlay/names.ts'

t.test('overlayNamespaceName() keeps a short name and stays within that of a file', t => {
  t.equal(overlayNamespaceName('web'), 'overlay-web')
  const long = [`${'x'.repeat(300)}a`, `${'x'.repeat(300)}b`].map(overlayNamespaceName)
  for (const name of long) t.ok(name.length <= 250, `${name.length} characters`)
  t.not(long[0], long[1])
  t.end()
})

t.test('an overlay alias names its network, and no attachment', t => {
  const alias = overlayAlias('web', [4097])
  t.match(alias, /^cnikit overlay web settings [0-9a-f]{16}$/)
  t.equal(readOverlayAlias(alias), 'web')
  t.equal(readLinkAlias(alias), undefined)
  t.equal(overlayAlias('web', [4097]), alias)
  t.not(overlayAlias('web', [4098]), alias, 'other settings, another alias')
  t.ok(overlayAlias('x'.repeat(400), []).length <= 255)
  for (const other of [undefined, '', 'cnikit web c1 eth0', 'uplink']) t.equal(readOverlayAlias(other), undefined)
  t.end()
})
