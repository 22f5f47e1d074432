/** Neighbours and forwarding entries, as in `ip neighbour` and `bridge fdb`. */

export {
  addForwardingEntry,
  addForwardingEntryRequest,
  appendForwardingEntry,
  appendForwardingEntryRequest,
  deleteForwardingEntry,
  deleteForwardingEntryRequest,
  type ForwardingEntry,
  type ForwardingEntryFilter,
  listForwardingEntries,
  mapForwardingEntries,
  type NewForwardingEntry,
  replaceForwardingEntry,
  replaceForwardingEntryRequest,
} from './forwarding-entry.ts'
export {
  addNeighbour,
  addNeighbourRequest,
  deleteNeighbour,
  deleteNeighbourRequest,
  listNeighbours,
  mapNeighbours,
  type Neighbour,
  type NeighbourFilter,
  type NeighbourState,
  type NewNeighbour,
  replaceNeighbour,
  replaceNeighbourRequest,
} from './neighbour.ts'
