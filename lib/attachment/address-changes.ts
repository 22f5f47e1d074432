/** Changes to the addresses of a link that all containers share: made once, however many ask, and undone together. */

import type { Prefix } from '../address/prefix.ts'
import { type Address, AddressFlag, addAddress, deleteAddress } from '../netlink/route/addr/index.ts'
import type { NetlinkSocket } from '../netlink/socket.ts'
import { Errno } from '../sys/errno.ts'
import type { AddressPlan } from './gateway.ts'

export class AddressChanges {
  readonly #socket: NetlinkSocket
  readonly #noDad: boolean
  readonly #added: Prefix[] = []
  readonly #removed: Address[] = []

  constructor(socket: NetlinkSocket, config: { readonly duplicateAddressDetection: boolean }) {
    this.#socket = socket
    this.#noDad = !config.duplicateAddressDetection
  }

  /** Adds the missing addresses and removes those in the way. */
  make({ index }: { readonly index: number }, plan: AddressPlan): void {
    for (const address of plan.conflicting) {
      // The kernel takes the other addresses of a subnet away together with the first.
      deleteAddress(this.#socket, address, { missing: 'ignore' })
      this.#removed.push(address)
    }
    for (const prefix of plan.missing) {
      try {
        addAddress(this.#socket, { index, prefix, noDad: this.#noDad })
        this.#added.push(prefix)
      } catch (error) {
        // Another container's ADD was faster.
        if ((error as { errno?: number }).errno !== Errno.EEXIST) throw error
      }
    }
  }

  undo({ index }: { readonly index: number }): void {
    for (const prefix of this.#added) deleteAddress(this.#socket, { index, prefix }, { missing: 'ignore' })
    for (const address of this.#removed) this.bringBack(address)
  }

  /** Adds an address with all that it had. */
  bringBack(address: Address): void {
    addAddress(this.#socket, {
      ...address,
      broadcast: address.broadcast ?? false,
      noDad: this.#noDad,
      noPrefixRoute: (address.flags & AddressFlag.noPrefixRoute) !== 0,
    })
  }
}
