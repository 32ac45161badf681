// Command wire compares ways to carry a unary call from one Go process to
// another:
//
//	go run ./bench/wire
//
// An echo of about a hundred bytes of protobuf, client and server in processes
// of their own on loopback, over one connection. What is compared is the CPU
// time that both processes take for a call, and how many calls they get
// through; the ratios tell, the absolute figures belong to the machine. Rounds
// are rotated, and the median of each counts.
package main
