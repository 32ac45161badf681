package acceptance_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// check compares what the graph shows with what was ordered.
func (r *rush) check() {
	shown := map[string]map[string]any{} // the history, by order
	for _, a := range r.orders {
		if shown[a.consumer] == nil {
			shown[a.consumer] = r.history(a)
		}
		r.checkOrder(a, shown[a.consumer])
	}
	for consumer, rest := range shown {
		if len(rest) > 0 {
			r.t.Errorf("the history of %s has %d orders more than were placed: %v", consumer, len(rest), rest)
		}
	}
}

func (r *rush) checkOrder(a *attempt, history map[string]any) {
	r.t.Helper()
	res := r.whole(a)
	status, reason := "APPROVED", any(nil)
	if a.want != "" {
		status, reason = "REJECTED", a.want
	}
	if res.at("order.rejectionReason") == "TIMEOUT" {
		r.timedOut++
		status, reason = "REJECTED", "TIMEOUT"
	}
	want := map[string]any{
		"order.status": status, "order.rejectionReason": reason, "order.total.amount": float64(a.quantity * price),
		"order.ticket": nil, "order.payment": nil, "order.delivery": nil,
	}
	if status == "APPROVED" {
		want["order.ticket"] = map[string]any{"status": "AWAITING_ACCEPTANCE", "readyBy": nil}
		want["order.payment"] = map[string]any{"authorized": map[string]any{"amount": float64(a.quantity * price)}, "reversed": false}
		want["order.delivery"] = map[string]any{"status": "PENDING", "courier": nil}
	}
	for path, v := range want {
		got := res.at(path)
		if path == "order.payment" && reason == "TIMEOUT" && res.at("order.payment.reversed") == true {
			continue
		}
		if fmt.Sprint(got) != fmt.Sprint(v) {
			r.t.Errorf("order %s: %s is %v, want %v", a.id, path, got, v)
		}
	}
	if got, want := fmt.Sprint(history[a.id]), fmt.Sprint(status, float64(a.quantity*price)); got != want {
		r.t.Errorf("order %s: the history shows %q, want %q", a.id, got, want)
	}
	delete(history, a.id)
	if again, err := r.place(a); err != nil || again != a.id {
		r.t.Errorf("order %s: its key again places %q: %v", a.id, again, err)
	}
}

// whole returns an order with no part missing because of an error.
func (r *rush) whole(a *attempt) (res answer) {
	r.t.Helper()
	eventually(r.t, "order "+a.id+" is answered whole", func() bool {
		var err error
		res, err = a.who.try(getOrder, vars{"id": a.id})
		return err == nil && len(res.Errors) == 0
	})
	return res
}

// history pages through a consumer's orders and returns status and total of each.
func (r *rush) history(a *attempt) map[string]any {
	r.t.Helper()
	found := map[string]any{}
	v := vars{"consumer": a.consumer, "first": 20}
	for {
		page := a.who.ask(listOrders, v)
		for _, node := range page.ok(r.t, "orders.nodes").([]any) {
			o := node.(map[string]any)
			id := o["id"].(string)
			if found[id] != nil {
				r.t.Errorf("the history shows order %s twice", id)
			}
			found[id] = fmt.Sprint(o["status"], o["total"].(map[string]any)["amount"])
		}
		if page.at("orders.pageInfo.hasNextPage") != true {
			return found
		}
		v["after"] = page.at("orders.pageInfo.endCursor")
	}
}

// authorized is the total that accounting holds.
func (r *rush) authorized() int64 {
	r.t.Helper()
	const method = "/ftgo.accounting.v1.AccountingService/GetBalance"
	req, err := http.NewRequest(http.MethodPost, "http://"+r.instances(r.t, "accounting")[0].Address+method, strings.NewReader("{}"))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+r.asAdmin.token)
	res, err := httpClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	var body struct {
		Authorized struct {
			Amount int64 `json:",string"`
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&body); err != nil || res.StatusCode != http.StatusOK {
		r.t.Fatalf("the balance is answered with %s, %v", res.Status, err)
	}
	return body.Authorized.Amount
}
