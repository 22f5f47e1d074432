/** Rules that choose the routing table, as in `ip rule`. */

export { addRuleRequest, deleteRuleRequest, type NewRule } from './requests.ts'
export type { PortRange, Rule, RuleAction } from './rule.ts'
export { addRule, deleteRule, listRules, type RuleFilter } from './verbs.ts'
