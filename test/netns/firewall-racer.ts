/**
 * One of several processes that add masquerade at the same moment: waits until the lock file is free, then adds its
 * attachments. Arguments: lock file, number of this process, how many attachments, networks to take in turn.
 */

import { formatAddress } from '../../lib/address/address.ts'
import { addMasquerade, deleteMasquerade } from '../../lib/firewall/masquerade.ts'
import { withFileLock } from '../../lib/sys/lock.ts'
import { prefix } from './firewall-fixture.ts'

const [lock = '', number = '0', count = '0', verb = 'add', ...networks] = process.argv.slice(2)

process.stdout.write('ready\n')
withFileLock(
  lock,
  () => {
    for (let index = 0; index < Number(count); index++) {
      for (const [position, network] of networks.entries()) {
        const attachment = { network, containerId: `container-${number}-${index}`, ifname: 'eth0' }
        const host = formatAddress(Uint8Array.of(10, position + 1, Number(number), index + 1))
        const addresses = [prefix(`${host}/16`), prefix(`fd00:${position + 1}::${number}:${index + 1}/64`)]
        if (verb === 'add') addMasquerade('nftables', attachment, addresses)
        else deleteMasquerade(attachment, { addresses }).close()
      }
    }
  },
  { shared: true },
)
