# The fields of openpilot's log that are read, and nothing else: what is not named here cannot be read by mistake.
#
# openpilot (MIT licence) numbers every field and never reuses a number, so a log of any year is read by these numbers,
# whatever its fields are called by now (cereal/log.capnp, cereal/car.capnp). A struct here ends with the last field that
# is needed; those before it that are not needed have their type, which places the others, and the name of their number.
# A log's Event is a union of more than a hundred structs; it is laid out as a number, which tells the struct, and a
# pointer. So an event, or a value of an enumeration, that is newer than this file is a number like any other.
@0xb6d4a1f3c2e09587;

struct Event {
  logMonoTime @0 :UInt64;  # ns since the device started
  kind @1 :UInt16;         # which member of the union
  valid @2 :Bool = true;
  body @3 :AnyPointer;
}

struct CarState {
  f0 @0 :AnyPointer;
  vEgo @1 :Float32;
  f2 @2 :AnyPointer;
  gas @3 :Float32;
  gasPressed @4 :Bool;
  brake @5 :Float32;
  brakePressed @6 :Bool;
  steeringAngleDeg @7 :Float32;
  steeringTorque @8 :Float32;
  f9 @9 :Bool;
  f10 @10 :AnyPointer;
  f11 @11 :AnyPointer;
  f12 @12 :AnyPointer;
  f13 @13 :AnyPointer;
  gearShifter @14 :UInt16;
  f15 @15 :Float32;
  aEgo @16 :Float32;
  f17 @17 :Float32;
  f18 @18 :Bool;
  f19 @19 :Bool;
  leftBlinker @20 :Bool;
  rightBlinker @21 :Bool;
  yawRate @22 :Float32;
}

struct LivePose {
  f0 @0 :AnyPointer;
  f1 @1 :AnyPointer;
  f2 @2 :AnyPointer;
  angularVelocityDevice @3 :Xyz;
}

struct Xyz {
  x @0 :Float32;
  y @1 :Float32;
  z @2 :Float32;
  f3 @3 :Float32;
  f4 @4 :Float32;
  f5 @5 :Float32;
  valid @6 :Bool;
}

struct LiveLocationKalman {
  f0 @0 :AnyPointer;
  f1 @1 :AnyPointer;
  f2 @2 :AnyPointer;
  f3 @3 :AnyPointer;
  f4 @4 :AnyPointer;
  f5 @5 :AnyPointer;
  f6 @6 :AnyPointer;
  f7 @7 :AnyPointer;
  angularVelocityDevice @8 :Measurement;
}

struct Measurement {
  value @0 :List(Float64);
  f1 @1 :AnyPointer;
  valid @2 :Bool;
}

struct LiveCalibration {
  f0 @0 :AnyPointer;
  f1 @1 :Int8;
  f2 @2 :Int32;
  f3 @3 :Int8;
  f4 @4 :AnyPointer;
  f5 @5 :AnyPointer;
  f6 @6 :AnyPointer;
  rpyCalib @7 :List(Float32);
  f8 @8 :AnyPointer;
  f9 @9 :Int32;
  f10 @10 :AnyPointer;
  calStatus @11 :UInt16;
  height @12 :List(Float32);
}

struct GpsLocation {  # a speed, to check the car's own against; where the car was is not read
  flags @0 :UInt16;       # bit 0: there is a fix; logs before 2024 have no hasFix
  f1 @1 :Float64;
  f2 @2 :Float64;
  f3 @3 :Float64;
  speed @4 :Float32;
  f5 @5 :Float32;
  f6 @6 :Float32;
  f7 @7 :Int64;
  f8 @8 :UInt16;
  f9 @9 :AnyPointer;
  f10 @10 :Float32;
  f11 @11 :Float32;
  f12 @12 :Float32;
  hasFix @13 :Bool;
}

struct EncodeIndex {
  f0 @0 :UInt32;
  f1 @1 :UInt16;
  f2 @2 :UInt32;
  segmentNum @3 :Int32;
  segmentId @4 :UInt32;
  f5 @5 :UInt32;
  f6 @6 :UInt64;
  timestampEof @7 :UInt64;
}

struct FrameData {
  f0 @0 :UInt32;
  f1 @1 :UInt32;
  f2 @2 :UInt64;
  f3 @3 :Int32;
  f4 @4 :Int32;
  f5 @5 :Int32;
  f6 @6 :AnyPointer;
  f7 @7 :UInt16;
  f8 @8 :UInt64;
  f9 @9 :AnyPointer;
  f10 @10 :AnyPointer;
  f11 @11 :Int32;
  f12 @12 :Float32;
  f13 @13 :Float32;
  f14 @14 :Float32;
  f15 @15 :Float32;
  f16 @16 :AnyPointer;
  f17 @17 :AnyPointer;
  f18 @18 :AnyPointer;
  f19 @19 :Int32;
  f20 @20 :Bool;
  f21 @21 :Float32;
  f22 @22 :Float32;
  f23 @23 :Float32;
  f24 @24 :AnyPointer;
  f25 @25 :UInt32;
  sensor @26 :UInt16;
}

struct InitData {
  f0 @0 :AnyPointer;
  f1 @1 :AnyPointer;
  f2 @2 :AnyPointer;
  f3 @3 :UInt16;
  version @4 :Text;
}
