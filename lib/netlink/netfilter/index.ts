/** nftables and connection tracking over NETLINK_NETFILTER. */

export { applyBatch, rulesetGeneration } from './batch.ts'
export {
  type BaseChain,
  type ChainName,
  chainFormat,
  createChain,
  deleteChain,
  getChain,
  Hook,
  listChains,
  Policy,
  Priority,
} from './chain.ts'
export { type Connection, type ConnectionFilter, deleteConnections, listConnections, type Tuple } from './conntrack.ts'
export { type Data, REGISTER_1, REGISTER_2, REGISTER_32_0, VERDICT_REGISTER, Verdict } from './data.ts'
export { concatenatedLength, type Datatype, datatypeNumber } from './datatype.ts'
export {
  createElements,
  deleteElements,
  elementFormat,
  elementsOf,
  getElement,
  listElements,
  type SetElement,
} from './element.ts'
export {
  type Expression,
  type ExpressionData,
  type ExpressionKind,
  express,
  expressionData,
} from './expression-attributes.ts'
export {
  address,
  addressInNetwork,
  compare,
  counter,
  etherSource,
  type IpFamilyName,
  inSet,
  masquerade,
  meta,
  notInSet,
  ofFamily,
  verdict,
  verdictMap,
} from './expressions.ts'
export { createRule, deleteRule, listRules, ruleFormat } from './rule.ts'
export { createSet, deleteSet, getSet, listSets, type SetName, type SetType, setFormat } from './set.ts'
export { NetfilterFamily, type NetfilterFamilyName } from './subsystem.ts'
export { type CreateOptions, createTable, deleteTable, getTable, type TableName, tableFormat } from './table.ts'
export { COMMENT_MAX_BYTES, type CommentedObject, commentOf, commentUserData } from './userdata.ts'
