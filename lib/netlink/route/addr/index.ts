/** Addresses of links, as in `ip address`. */

export { type Address, AddressFlag } from './address.ts'
export { addAddressRequest, deleteAddressRequest, type NewAddress, replaceAddressRequest } from './requests.ts'
export { type AddressFilter, addAddress, deleteAddress, listAddresses, replaceAddress } from './verbs.ts'
