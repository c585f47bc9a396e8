import Foundation
@testable import Storage
import Testing

/// The examples of "Signature Calculations for the Authorization Header" in Amazon's S3 API reference.
@Suite(.timeLimit(.minutes(3))) struct `S3 signatures` {
    private let signer = S3Signer(
        credentials: S3Credentials(
            accessKey: "AKIAIOSFODNN7EXAMPLE",
            secretKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            sessionToken: nil
        ),
        region: "us-east-1"
    )
    private let date = Date(timeIntervalSince1970: 1_369_353_600)
    private let emptyHash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    @Test func `reading an object is signed as Amazon's example says`() {
        let headers = signer.headers(
            method: "GET",
            path: "/test.txt",
            query: [],
            headers: [("host", "examplebucket.s3.amazonaws.com"), ("range", "bytes=0-9")],
            payloadHash: emptyHash,
            date: date
        )
        #expect(signature(headers) == "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")
    }

    @Test func `writing an object is signed as Amazon's example says`() {
        let headers = signer.headers(
            method: "PUT",
            path: S3Signer.encode("/test$file.text", keepingSlashes: true),
            query: [],
            headers: [
                ("host", "examplebucket.s3.amazonaws.com"), ("date", "Fri, 24 May 2013 00:00:00 GMT"),
                ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ],
            payloadHash: "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
            date: date
        )
        #expect(signature(headers) == "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd")
    }

    @Test func `listing is signed as Amazon's example says`() {
        let headers = signer.headers(
            method: "GET",
            path: "/",
            query: [("max-keys", "2"), ("prefix", "J")],
            headers: [("host", "examplebucket.s3.amazonaws.com")],
            payloadHash: emptyHash,
            date: date
        )
        #expect(signature(headers) == "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7")
    }

    @Test func `dates are written and read in universal time`() {
        for seconds in [0, 951_782_400, 1_369_353_600, 1_709_164_799, 4_102_444_799] {
            let date = Date(timeIntervalSince1970: Double(seconds))
            let stamp = S3Signer.timestamp(date)
            let parts = stamp.map(String.init)
            let text =
                "\(parts[0...3].joined())-\(parts[4...5].joined())-\(parts[6...7].joined())T"
                + "\(parts[9...10].joined()):\(parts[11...12].joined()):\(parts[13...14].joined()).000Z"
            #expect(HTTPDate.parse(text) == date)
        }
        #expect(HTTPDate.parse("Sun, 06 Nov 1994 08:49:37 GMT") == Date(timeIntervalSince1970: 784_111_777))
        #expect(HTTPDate.parse("nonsense") == nil)
        #expect(HTTPDate.parse("") == nil)
    }

    @Test func `secrets are in no description`() {
        let credentials = S3Credentials(
            accessKey: "AKIAEXAMPLE",
            secretKey: "very-secret",
            sessionToken: "token-secret"
        )
        var dumped = ""
        dump(credentials, to: &dumped)
        for text in ["\(credentials)", String(reflecting: credentials), dumped] {
            #expect(!text.contains("very-secret") && !text.contains("token-secret"))
        }
    }

    private func signature(_ headers: [(String, String)]) -> Substring? {
        headers.first { $0.0 == "authorization" }?.1.split(separator: "Signature=").last
    }
}
