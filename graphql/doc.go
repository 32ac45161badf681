// Package graphql serves a graph whose parts live in several services: API
// composition. The graph is an SDL file whose directives map fields to RPCs;
// Go functions stand in where no mapping can express a field.
//
//	type Query {
//	  order(id: ID!): Order @rpc(service: "order", method: "shop.v1.OrderService/GetOrder")
//	}
//	type Order {
//	  id: ID!
//	  ticket: Ticket @optional(timeout: "150ms")
//	    @rpc(service: "kitchen", method: "shop.v1.KitchenService/BatchGet", in: {ids: "$batch.id"}, items: "tickets", key: "orderId")
//	}
//
//	schema, err := graphql.Load(sdl, &graphql.Options{Client: host.Client})
//	mux.Handle("/graphql", schema.Handler(nil))
//
// # Directives
//
// @rpc(service, method, in, items, key, max) fetches the field with a unary method.
//
//   - in maps the request's fields, in the proto's spelling or in camelCase, nested
//     as the request is: "$args.a.b" is an argument or a field below it, "$parent.x" a
//     field of the parent's message, "$batch.x" the same field of all parents, for a
//     repeated field; anything else is a constant. A request field that in leaves
//     out takes the argument of its name, or else the field of its name of the
//     argument called input. An argument that would go nowhere is an error.
//   - items is the path in the response of the value; default: the response itself.
//   - key is the path in an item of the value that $batch sent. Of a batch join each
//     parent gets the item, or for a list field all items, with its key; a key that
//     nobody answers is null, or an empty list, and no error. An empty key is not asked for.
//   - max is how many keys one batch call takes (default 200; more are cut into calls
//     side by side). With $parent it bounds how many calls a level makes; without it such a
//     field must not be reachable through a list.
//
// @source(field) reads the field from elsewhere in the parent's message: a
// path, or "." for the parent itself. Without it a field has its own name, in camelCase or snake_case.
//
// @internal hides the field, and types only it leads to, from clients; resolvers
// may require it.
//
// @optional(timeout, fallback) gives the field's call its own time, at most four fifths
// of what is left, and a constant to stand in when it fails; the failure is then listed
// in extensions.degraded instead of errors. Without @optional a call may use all the time left.
//
// @auth(roles, public) says who may ask for the field: the roles, anybody signed in
// when neither is given, or everybody. Root fields without @auth need a
// caller who is signed in, unless Options.Anonymous.
//
// @cost(weight) replaces the field's cost: 10 for a mutation, 1 for an
// object, 0 for a scalar.
//
// # Values
//
// String, ID, Int, Float, Boolean, enums and objects are served from the proto
// kinds they fit, ID also from integers, DateTime from google.protobuf.Timestamp
// and as RFC 3339 in UTC. Ints are checked against 32 bits both ways. Enums match by
// name, with or without the proto enum's prefix; the zero value may be outside the
// graph's enum and is then null. An empty string without presence is null where the
// graph allows null. One object type may be served from messages of several services.
//
// # Guarantees
//
//   - Calls depend on the depth of joins, never on the length of lists: the joins
//     whose parents are known form a wave, and within a wave calls of one
//     batch method become one, whatever their aliases and paths.
//   - Calls of a wave run side by side; fields of a mutation run one after the other, and no two are merged.
//   - Every part that is missing has an error with its path, a code, and the service;
//     null propagates as the GraphQL specification says. What a service says about
//     a mistake of the caller reaches the caller; its other errors do not.
//   - Load refuses, with the line, mappings that do not fit the protos and joins
//     that would make one call per element of a list.
//   - All input is checked before the first call. A mistake is BAD_USER_INPUT with
//     the field's path as the caller wrote it, as in input.lineItems[0].quantity.
//   - Document, tokens, depth, fields, aliases and cost are bounded, by default, before validation.
//   - Compiled operations are cached by document and operation name together.
//
// A Schema is safe for concurrent use and owns no goroutine.
//
// # Limits
//
// Interfaces, unions, subscriptions, @defer and batches of requests are not served; each
// answers a clear error. Custom scalars other than DateTime need a Go resolver.
//
// # What the caller owes
//
// A context with a deadline (Handler sets one), and services that answer batches for the keys they
// know. A resolver answers one value per parent and shares nothing without a lock, as
// resolvers of a wave run beside each other.
//
// # Debugging
//
// Causes of INTERNAL errors are logged, with the field. Response.Stats says how many calls and
// waves an operation took.
//
// # Testing
//
// Put fake services behind rpi.Local and Execute documents: no network, no port.
package graphql
