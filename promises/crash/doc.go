// Package crash breaks a running Millrace on purpose, again and again, and then holds it to its promises: every accepted
// event is loaded exactly once, arrival only grows within a partition, and no row ever appears at or below a watermark
// that a reader has seen.
//
// The world is the one of `devstack --revive --toxiproxy`; in it run the real binaries, two captures and two loaders,
// while clients send events, some of them twice, and somebody puts messages into Kafka that cannot be read. A round is one
// fault: a process killed or stopped at a named failpoint or anywhere, a part of the world killed or stopped, a line cut,
// slowed down, or deaf to answers. Faults are dealt from a shuffled deck, so that each comes about equally often; what a
// fault meets is chance. The seed decides the order and the lengths of faults, and not what they meet: a run that fails is
// repeated by its seed until it fails again, and its logs are kept.
//
// After each round the judge looks for rows that are there twice, arrivals that fall, and watermarks that were broken; at
// every settling, and at the end, everything is loaded, and the table is compared with Kafka's own log, message by message.
//
//	World    the parts of the outside world and the lines to them
//	Service  a process of the product, started again when it dies
//	Clients  who send events, and remember what was accepted
//	Reader   who samples the watermark all the time
//	Judge    what must hold
//	Deck     the faults
//
// Later destinations and workers join as more services, more cards in the deck, and more that the judge looks at.
package crash
