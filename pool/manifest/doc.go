// Package manifest reads pools and advertisements from the manifests that
// MetalLB takes: objects of kind IPAddressPool and L2Advertisement, apiVersion
// metallb.io/v1beta1, as of MetalLB 0.16.
//
//	m, err := manifest.ParseFiles("pools.yaml", "advertisements.yaml")
//	...
//	config.Pools, config.Advertisements = m.Pools, m.Advertisements
//
// The way of a file:
//
//	bytes ─► UTF-8 ─► documents ─► objects ─┬─► IPAddressPool ───► pools ─────────┐
//	                  YAML, JSON   lists    ├─► L2Advertisement ─► advertisements ┼─► together:
//	                                        ├─► other kinds ─────► ignored        │   names, overlaps,
//	                                        └─► legacy MetalLB ──► errors         │   unknown pools
//	                                                              Manifest, error ◄
//
// # What is read
//
// Whatever kubectl writes and applies:
//
//   - YAML and JSON, documents after "---", values of JSON that follow each other,
//     empty documents, comments,
//   - UTF-8 and UTF-16, with a byte order mark before any document or none, with the
//     line ends of Windows,
//   - lists: a List of apiVersion v1, an IPAddressPoolList, an L2AdvertisementList,
//   - objects of other kinds, which are listed in [Manifest.Ignored], with their kind,
//     namespace and name.
//
// Scalars are read as Kubernetes reads them: a plain yes, no, on or off is a boolean,
// and where text is wanted, booleans and numbers must be quoted. Aliases and merge keys
// (<<) are followed. A field without value (null) counts as absent.
//
// # What is refused
//
// What kubectl, the API server or MetalLB refuses: unknown fields and kinds, wrong
// types, another apiVersion, names that Kubernetes does not allow, two objects of one
// name, objects in several namespaces, a CIDR with blanks, ranges that overlap, a
// selector that is given twice.
//
// And what would mean something else than it seems to: a key that is given twice, of
// which kubectl drops one; a merge key below a key that both give; an advertisement of a
// pool that there is not, or that selects none; ranges with addresses that no host can
// have. The configuration of a MetalLB that is no more (AddressPool, v1alpha1, the
// ConfigMap) is refused with a word on how to convert it.
//
// Nothing that restricts is dropped:
//
//	serviceAllocation.priority            pool.Pool.Priority
//	serviceAllocation.namespaces          pool.Pool.Namespaces
//	serviceAllocation.serviceSelectors    pool.Pool.ServiceSelectors
//	serviceAllocation.namespaceSelectors  an error: there are no objects of namespaces
//	autoAssign, avoidBuggyIPs             pool.Pool.NoAutoAssign, AvoidBuggyIPs
//	ipAddressPools, ...PoolSelectors      pool.Advertisement.Pools, PoolSelectors
//	nodeSelectors, interfaces             pool.Advertisement.NodeSelectors, Interfaces
//	serviceSelectors                      pool.Advertisement.ServiceSelectors
//	preferredNodeSelectors                pool.Advertisement.Preferred
//
// A serviceAllocation that restricts nothing has a ServiceSelectors that matches all:
// in MetalLB such a pool comes before those without one. What avoidBuggyIPs leaves out
// is not allocated automatically, and can be asked for by name, which MetalLB refuses.
// An interface whose name ends in * is a pattern here, and none in MetalLB.
//
// # Errors
//
// All errors are returned at once, each as an [*Error] with its file, document, line and
// field, and with the other position where two do not go together. With an error nothing is
// read. Of pools that could not be read nothing is said.
//
// What one file can cost is bounded: see [MaxSize] and the constants beside it.
package manifest
