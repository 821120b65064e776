;; The component around an attack's core module, which imports what it likes of `host` and `libc`, and exports
;; `handle`; what it exports of `realloc` and `post` takes the place of the plain ones.
(component
  (import "kinglet:events/types@0.1.0" (instance $types
    (type $delivery-type (record
      (field "id" string) (field "source" string) (field "accepted" u64) (field "attempt" u32)))
    (export "delivery" (type $delivery (eq $delivery-type)))
    (type $attributes-type (list (tuple string string)))
    (export "attributes" (type $attributes (eq $attributes-type)))
    (type $event-type (record
      (field "delivery" $delivery) (field "topic" string) (field "body" (list u8))
      (field "content-type" (option string)) (field "ordering-key" (option string))
      (field "attributes" $attributes)))
    (export "message-event" (type (eq $event-type)))
    (type $retry-type (record (field "reason" string) (field "after-ms" (option u64))))
    (export "retry-request" (type $retry (eq $retry-type)))
    (type $failure-type (variant (case "retry" $retry) (case "reject" string) (case "other" string)))
    (export "failure" (type (eq $failure-type)))
    (type $error-type (variant
      (case "denied" string) (case "not-found") (case "changed") (case "invalid" string)
      (case "limit" string) (case "unavailable" string) (case "other" string)))
    (export "error" (type (eq $error-type)))))
  (alias export $types "message-event" (type $event))
  (alias export $types "attributes" (type $attributes))
  (alias export $types "failure" (type $failure))
  (alias export $types "error" (type $error))
  (import "kinglet:events/topics@0.1.0" (instance $topics
    (export "error" (type $error-here (eq $error)))
    (export "attributes" (type $attributes-here (eq $attributes)))
    (type $draft-type (record
      (field "body" (list u8)) (field "content-type" (option string)) (field "ordering-key" (option string))
      (field "attributes" $attributes-here) (field "delay-ms" (option u64))))
    (export "draft" (type $draft (eq $draft-type)))
    (export "topic" (type $topic (sub resource)))
    (export "[static]topic.open" (func
      (param "name" string) (result (result (own $topic) (error $error-here)))))
    (export "[method]topic.publish" (func
      (param "self" (borrow $topic)) (param "messages" (list $draft)) (result (result (error $error-here)))))))
  (import "wasi:logging/logging@0.1.0-draft" (instance $logging
    (type $level-type (enum "trace" "debug" "info" "warn" "error" "critical"))
    (export "level" (type $level (eq $level-type)))
    (export "log" (func (param "level" $level) (param "context" string) (param "message" string)))))
  (import "wasi:random/random@0.2.6" (instance $random
    (export "get-random-bytes" (func (param "len" u64) (result (list u8))))))
  (import "wasi:io/poll@0.2.6" (instance $poll
    (export "pollable" (type $pollable-type (sub resource)))
    (export "[method]pollable.block" (func (param "self" (borrow $pollable-type))))))
  (alias export $poll "pollable" (type $pollable))
  (import "wasi:clocks/monotonic-clock@0.2.6" (instance $clock
    (export "pollable" (type $pollable-here (eq $pollable)))
    (export "now" (func (result u64)))
    (export "subscribe-duration" (func (param "when" u64) (result (own $pollable-here))))))

  (core module $libc-module
    (memory (export "memory") 4)
    (global $next (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.get $next)
      (global.set $next (i32.add (global.get $next) (local.get 3))))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
    (func (export "post") (param i32)))
  (core instance $libc (instantiate $libc-module))
  (core func $log (canon lower (func $logging "log") (memory $libc "memory")))
  (core func $random-bytes (canon lower (func $random "get-random-bytes")
    (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core func $now (canon lower (func $clock "now")))
  (core func $subscribe (canon lower (func $clock "subscribe-duration")))
  (core func $block (canon lower (func $poll "[method]pollable.block")))
  (core func $drop (canon resource.drop $pollable))
  (core func $open (canon lower (func $topics "[static]topic.open")
    (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core func $publish (canon lower (func $topics "[method]topic.publish")
    (memory $libc "memory") (realloc (func $libc "realloc"))))
  (core instance $host
    (export "log" (func $log))
    (export "random" (func $random-bytes))
    (export "now" (func $now))
    (export "subscribe" (func $subscribe))
    (export "block" (func $block))
    (export "drop" (func $drop))
    (export "open" (func $open))
    (export "publish" (func $publish)))

  (;beside;)

  (core module $attack-module (;module;))
  (core instance $attack (instantiate $attack-module
    (with "libc" (instance $libc))
    (with "host" (instance $host)) (;with;)))

  (func $handle (param "event" $event) (result (result (error $failure)))
    (canon lift (core func $attack "handle") (memory $libc "memory") (;lift;)))
  (instance $handler (export "handle" (func $handle)))
  (export "kinglet:events/message@0.1.0" (instance $handler)))
