// Package pool holds the addresses that l2vip announces: ranges of them, the
// pools that ranges are grouped into, the advertisements that say from which
// nodes a pool may be announced, and the allocation of addresses to services.
//
//	Range, Selector ─► Pool ─────────────┐
//	                     ▲               ├─► Allocate ─► Allocation ─► Moved
//	                     │      Request ─┘
//	Selector ─► Advertisement ─► SelectsPool, SelectsService, SelectsNode, Weight
//
// Everything here is a value or a pure function: there is no I/O, no clock and
// no state. The nodes of a cluster do not agree on addresses over the network;
// each computes [Allocate] from its own configuration, and equal configuration
// gives equal addresses.
//
// Pools, advertisements and selectors mean what they mean in MetalLB and
// Kubernetes. Package [github.com/l2vip/l2vip/pool/manifest] reads them from
// MetalLB's manifests.
//
// # Order of automatic allocation
//
// A service that names no pool gets its addresses from the pools that admit it, by
// [Pool.Namespaces] and [Pool.ServiceSelectors], and that have any left:
//
//  1. those with a [Pool.Priority], the lowest number first,
//  2. those that have Namespaces or ServiceSelectors,
//  3. all others,
//
// each of these, and pools of one priority, in the order in which they are
// written. MetalLB has the same order, and leaves to chance what is equal in it.
//
// A pool gives its ranges in the order in which they are written, and each
// range from [Range.First] upwards, wrapping around at the end of a CIDR. A pool
// with ranges of both families gives those of the first range until it is used
// up; a service that wants one address of each family asks for them by name, or
// there are two pools and two services. What is asked for by name and what a pool
// excludes is left out, and so are the addresses of a CIDR that are not for hosts:
//
//   - IPv4, /30 or shorter: the network and broadcast addresses, which are the
//     first and the last one. A /31 has neither (RFC 3021).
//   - IPv6, /126 or shorter: the first one, the Subnet-Router anycast address
//     that every router on the link answers for (RFC 4291 section 2.6.1). A
//     /127 has none (RFC 6164).
//
// All of them can still be asked for by name.
//
// # Errors
//
// A function that validates returns everything that is wrong, joined, each
// finding as a [*ConfigError] with the path of the field it is about.
package pool
