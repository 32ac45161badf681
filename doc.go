// Package cleave is the map.
package cleave
