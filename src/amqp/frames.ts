/**
 * Lets a connection get over a message with properties that amqplib cannot read: a table that nests deeper than its stack goes. It would give the
 * connection up, and the next one with the same message, so that nothing behind it were ever taken.
 */

/** What amqplib reads a connection with; its types leave it out. `rest` is what has come in and is not read yet. */
export interface Incoming {
  rest: Buffer;
  recvFrame(): unknown;
}

/** A frame: type (1 byte), channel (2), size of what it holds (4), that, and its end (https://www.rabbitmq.com/resources/specs/amqp0-9-1.pdf, 4.2.3). */
const FRAME_HEAD = 7;
const HEADER_FRAME = 2;
const FRAME_END = 0xce;
/** A content header begins with class (2), weight (2), size of the body (8), and then which properties there are (2). */
const SIZES = 12;
const NO_PROPERTIES = [0, 0];

/** The content header that `bytes` begin with, its properties left out; undefined when they begin with something else, or it is not whole. */
function bareHeader(bytes: Buffer): Buffer | undefined {
  if (bytes.length < FRAME_HEAD || bytes[0] !== HEADER_FRAME) return undefined;
  const size = bytes.readUInt32BE(3);
  if (size < SIZES + NO_PROPERTIES.length || bytes.length <= FRAME_HEAD + size) return undefined;
  const bare = Buffer.from([...bytes.subarray(0, FRAME_HEAD + SIZES), ...NO_PROPERTIES, FRAME_END]);
  bare.writeUInt32BE(SIZES + NO_PROPERTIES.length, 3);
  return bare;
}

/** From now on a message whose properties cannot be read is one that has none. */
export function readAnyProperties(connection: Incoming): void {
  const read = connection.recvFrame;
  // amqplib calls it again, through the connection, each time that more has come in: what it begins with is a frame's beginning.
  connection.recvFrame = () => {
    const { rest } = connection;
    try {
      return read.call(connection);
    } catch (error) {
      const bare = bareHeader(rest);
      // Only a frame that is whole has been passed over.
      if (bare === undefined || connection.rest === rest) throw error;
      connection.rest = Buffer.concat([bare, connection.rest]);
      return read.call(connection);
    }
  };
}
