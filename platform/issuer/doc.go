// Package issuer signs tokens for development, with a key that lies in a file,
// and publishes that key as any OpenID Connect issuer does:
//
//	is, err := issuer.Open(".cleave/issuer.pem", "http://127.0.0.1:9001", "ftgo")
//	token, expires, err := is.Sign("c-1", []string{"consumer"}, 0)
//	http.ListenAndServe("127.0.0.1:9001", is.Handler())   // /jwks.json
//
// # Guarantees
//
//   - The key is made once, for its owner to read only, and used again: tokens
//     stay valid over restarts.
//   - Nothing that is served signs: whoever reaches the HTTP address gets public
//     keys only. Signing goes through the control socket.
//   - Requests with a Host that is not of this machine are refused.
//
// # What the caller owes
//
// It is for development: there are no users and no passwords, whoever may open
// the key file may be anybody.
//
// # Debugging
//
// /jwks.json shows the key's id, /.well-known/openid-configuration the issuer's
// name; both must be what the verifying side expects.
//
// # Testing
//
// Open it on a file below t.TempDir().
package issuer
