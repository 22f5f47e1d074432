/** Filters of packets, as in `tc filter`. */

export {
  addRedirectRequest,
  deleteRedirectRequest,
  type Filter,
  type FilterTarget,
  listReceiveFilters,
} from './filter.ts'
