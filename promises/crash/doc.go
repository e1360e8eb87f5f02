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
// Exports are broken in a world of their own test, with workers, a store and a database, while events keep coming. There the
// rounds overlap: a worker that is killed is missed by Temporal after half a minute, and what it had in hand is done again
// beside the rounds that follow. So each round looks only at what is published, and every hundred rounds, and at the end, all
// that was begun must come to be published.
//
//	World    the parts of the outside world and the lines to them
//	Service  a process of the product, started again when it dies
//	Clients  who send events, and remember what was accepted
//	Reader   who samples the watermark all the time
//	Judge    what must hold
//	Deck     the faults
//
//	Exporter     who starts runs, and starts those again that somebody ended
//	Asleep       stopped workers, which wake as zombies beside later rounds
//	StoreRelay   the way to S3, which answers 503, is slow, or loses answers
//	DatabaseRelay the way to Postgres, which is cut at COMMIT
//	Places       who changes what is stored and not published yet
//	StoreJudge   what must hold of files, read by ClickHouse
//	TableJudge   what must hold of tables
//	Dealer       who chooses the next faults, at the boundaries that were hit least
//	Phases       where the time of a run goes
//	WatchTemporal who starts Temporal again when it is silent
package crash
