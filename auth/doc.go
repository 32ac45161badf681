// Package auth tells who calls: it verifies access tokens and carries the caller through a request.
//
// The gateway verifies the caller's token and forwards it; every service verifies it again. No header that merely
// names a user is ever believed.
//
//	v, err := auth.NewVerifier(&auth.Options{JWKSURL: url, Issuer: issuer, Audience: "ftgo"})
//	…
//	p, err := v.Verify(ctx, raw)     // at the edge of each process
//	ctx = auth.With(ctx, p, raw)
//	…
//	p, err := auth.Require(ctx, "consumer", "admin")     // in the handler
//
// # Guarantees
//
//   - Accepted are JWTs signed with ES256, RS256 or EdDSA by a key of the issuer's JWKS whose type (and alg, if
//     given) fits, with the expected iss and aud, a sub and an exp. A key or key address inside the token, a
//     critical header, a private or symmetric key in the JWKS are never used.
//   - Tokens, headers and key sets are bounded in size; an error never contains any part of a token.
//   - New keys are picked up by the first token that names one. However many tokens name unknown keys, that
//     costs one fetch in 10 s; and concurrent callers share each fetch.
//   - A token verified once is known again at the price of a hash, until it expires or the keys are fetched
//     anew; at most 4,096 are remembered.
//   - While the issuer is away, the keys known before serve for up to a day.
//
// A Verifier may be used by many goroutines. It fetches when a token asks for it and owns no goroutine
// besides the fetch, which ends within 5 s.
//
// # What the caller owes
//
// Keep the clocks of issuer and verifier together within Options.Leeway. Answer [ErrKeysUnavailable] as the
// server's trouble, not the caller's; [ErrNoToken], [ErrInvalid] and [ErrExpired] as "unauthenticated"; [ErrForbidden] as
// "permission denied".
//
// # Debugging
//
// Errors say which rule a token broke. Failed fetches are logged.
//
// # Testing
//
// authtest has an issuer that mints tokens and serves its keys, and can rotate them.
package auth
