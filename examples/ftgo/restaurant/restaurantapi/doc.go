// Package restaurantapi is what other services may know of restaurant: its procedures, commands and events.
package restaurantapi
