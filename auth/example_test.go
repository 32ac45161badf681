package auth_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"time"

	"github.com/cleave-go/cleave/auth"
	"github.com/cleave-go/cleave/auth/authtest"
)

func Example() {
	issuer, err := authtest.New("https://issuer.example", "ftgo")
	if err != nil {
		fmt.Println(err)
		return
	}
	jwks := httptest.NewServer(issuer)
	defer jwks.Close()
	v, err := auth.NewVerifier(&auth.Options{
		JWKSURL: jwks.URL, Issuer: "https://issuer.example", Audience: "ftgo",
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	raw, _ := issuer.Token("ann", time.Minute, "consumer")
	p, err := v.Verify(context.Background(), raw)
	fmt.Println(p.Subject, p.Has("consumer"), err)

	ctx := auth.With(context.Background(), p, raw)
	_, err = auth.Require(ctx, "courier")
	fmt.Println(err)

	raw, _ = issuer.Token("ann", -time.Hour)
	_, err = v.Verify(context.Background(), raw)
	fmt.Println(err)
	// Output:
	// ann true <nil>
	// the caller may not do this: it takes the role courier
	// the access token has expired
}
