/** Routes, as in `ip route`. */

export { RouteFlag, RouteProtocol, RouteScope, RouteTable, type RouteType } from './constants.ts'
export {
  addRouteRequest,
  appendRouteRequest,
  deleteRouteRequest,
  type NewRoute,
  replaceRouteRequest,
} from './requests.ts'
export type { NextHop, Route, RouteMetrics } from './route.ts'
export {
  addRoute,
  deleteRoute,
  getRoute,
  listRoutes,
  type RouteFilter,
  type RouteLookup,
  replaceRoute,
} from './verbs.ts'
