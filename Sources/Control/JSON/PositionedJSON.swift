/// A place in a text file, counted from 1.
///
/// Columns count Unicode scalars.
package struct TextPosition: Sendable, Equatable {
    package var line: Int
    package var column: Int

    package init(line: Int, column: Int) {
        self.line = line
        self.column = column
    }
}

/// A JSON value that knows where it stands, so that a message about it can name the line.
package struct PositionedJSON: Sendable, Equatable {
    package indirect enum Value: Sendable, Equatable {
        case null
        case bool(Bool)
        case number(Double)
        case string(String)
        case array([PositionedJSON])
        case object([Member])
    }

    package struct Member: Sendable, Equatable {
        package var key: String
        package var position: TextPosition
        package var value: PositionedJSON
    }

    package var value: Value
    package var position: TextPosition

    package init(_ value: Value, at position: TextPosition) {
        self.value = value
        self.position = position
    }

    /// The value as a person would say it in a message: `"gated"`, `12`, `an object`.
    package var summary: String {
        switch value {
        case .null: "null"
        case .bool(let bool): "\(bool)"
        case .number(let number):
            number == number.rounded() && abs(number) < 1e15 ? "\(Int(number))" : "\(number)"
        case .string(let string): "\"\(string.prefix(60))\""
        case .array: "an array"
        case .object: "an object"
        }
    }
}

/// What is wrong with the text, and where.
package struct JSONSyntaxError: Error, Equatable {
    package var position: TextPosition
    package var message: String
}
