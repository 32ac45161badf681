package pact

import (
	"fmt"

	"github.com/cleave-go/cleave/contract/internal/match"
)

// CompareRequest returns how a request differs from what is expected. Nothing
// may be added to query and body.
func CompareRequest(expected, actual *Request) []match.Mismatch {
	found := match.Method(expected.Method, actual.Method)
	found = append(found, match.URLPath(expected.Path, actual.Path, expected.Rules["path"])...)
	found = append(found, match.Query(expected.Query, actual.Query, expected.Rules["query"])...)
	found = append(found, match.Headers(expected.Headers, actual.Headers, expected.Rules["header"])...)
	return append(found, compareBody(expected.Body, actual.Body, expected.Rules["body"], false)...)
}

// CompareResponse returns how a response differs from what is expected. Headers
// and keys may be added.
func CompareResponse(expected, actual *Response) []match.Mismatch {
	var found []match.Mismatch
	if expected.Status != 0 {
		found = match.Status(expected.Status, actual.Status, expected.Rules["status"])
	}
	if len(found) > 0 && success(expected.Status) != success(actual.Status) { // what it says instead is all there is to tell
		return append(found, match.Mismatch{Part: "body", Path: "$", Expected: string(expected.Body.Data()), Actual: string(actual.Body.Data()),
			Rule: "after the status", Message: "is the answer of another status"})
	}
	found = append(found, match.Headers(expected.Headers, actual.Headers, expected.Rules["header"])...)
	return append(found, compareBody(expected.Body, actual.Body, expected.Rules["body"], true)...)
}

func success(status int) bool { return status >= 200 && status < 300 }

// CompareMessage returns how a message differs from what is expected. Metadata
// may be added; keys of the contents too when open is set, as is right for
// what a consumer reads.
func CompareMessage(expected, actual *Message, open bool) []match.Mismatch {
	found := match.Metadata(expected.Metadata, actual.Metadata, expected.Rules["metadata"])
	return append(found, compareBody(expected.Body, actual.Body, expected.Rules["body"], open)...)
}

func compareBody(expected, actual Body, rules match.Category, open bool) []match.Mismatch {
	problem := func(want, got, rule, message string) []match.Mismatch {
		return []match.Mismatch{{Part: "body", Path: "$", Expected: want, Actual: got, Rule: rule, Message: message}}
	}
	switch {
	case expected.Kind == Missing:
		return nil
	case expected.Kind == Empty && (actual.Kind == Missing || actual.Kind == Empty):
		return nil
	case expected.Kind == Empty:
		return problem("empty", string(actual.Data()), "equality", "Expected an empty body but was "+fmt.Sprint(len(actual.Data()))+" bytes")
	case actual.Kind == Missing || actual.Kind == Empty:
		return problem(string(expected.Data()), "empty", "equality", "Expected a body but was empty")
	case expected.Type != "" && actual.Type != "" && !match.SameType(expected.Type, actual.Type):
		return problem(expected.Type, actual.Type, "content type",
			fmt.Sprintf("Expected a body of '%s' but the actual content type was '%s'", expected.Type, actual.Type))
	case expected.Kind == JSON && actual.Kind == JSON:
		return match.JSON(expected.Value, actual.Value, rules, open)
	case expected.Kind == JSON:
		return problem(string(expected.Data()), string(actual.Bytes), "JSON", "Expected JSON but it cannot be read as that")
	}
	return match.Text(string(expected.Bytes), string(actual.Data()), rules)
}
